package kafkatest

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// A broker keeps its ports through a restart. They are taken from below the
// range that systems hand out to outgoing connections, or one of those could
// take a port while the broker is down.
const (
	firstPort = 15000
	lastPort  = 32000
)

// freePorts finds n ports of the loopback address on which nothing listens.
func freePorts(n int) ([]int, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	var ports []int
	for range 50 * n {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		held = append(held, l)
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("find %d free ports between %d and %d: found %d", n, firstPort, lastPort, len(ports))
}
