// Package freeport finds ports for the servers of tests that must know theirs
// before they start, or keep them through a restart.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range that systems hand out to outgoing connections
// and to listeners on port 0: one of those could take a port while nothing listens.
const (
	first = 15000
	last  = 32000
)

// Find finds n different ports of the loopback address on which nothing listens.
func Find(n int) ([]int, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	var ports []int
	for range 50 * n {
		port := first + rand.IntN(last-first)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		held = append(held, l)
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("find %d free ports between %d and %d: found %d", n, first, last, len(ports))
}
