package feed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// clientsVariable makes this test binary the clients of a feed: address and
	// number.
	clientsVariable = "CALLPOP_TEST_FEED_CLIENTS"

	benchFeeds = 5000
	benchRate  = 500 // pops a second over all agents
)

// clientReport is what the clients' process saw.
type clientReport struct {
	Pops          int
	P50, P99, Max time.Duration
}

func isClients() bool { return os.Getenv(clientsVariable) != "" }

// clients opens a stream for each agent from 10000 on, says ready, and reads until
// its standard input ends; then it reports how old the pops were when they came.
func clients() {
	var address string
	var count int
	if _, err := fmt.Sscan(os.Getenv(clientsVariable), &address, &count); err != nil {
		panic(err)
	}
	var mu sync.Mutex
	var ages []time.Duration
	var open, reading sync.WaitGroup
	conns := make([]net.Conn, count)
	starting := make(chan struct{}, 64)
	for i := range conns {
		open.Add(1)
		starting <- struct{}{}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			panic(err)
		}
		conns[i] = conn
		_, _ = fmt.Fprintf(conn, "GET /v1/servers/hq/agents/%d/pops HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", 10_000+i, backToken)
		reading.Go(func() {
			lines := bufio.NewReaderSize(conn, 2048)
			for {
				line, err := lines.ReadSlice('\n')
				if err != nil {
					return
				}
				now := time.Now()
				if bytes.HasPrefix(line, []byte("event: ready")) {
					<-starting
					open.Done()
				}
				_, at, ok := bytes.Cut(line, []byte(`"received_at":"`))
				if !ok {
					continue
				}
				text, _, _ := bytes.Cut(at, []byte(`"`))
				received, err := time.Parse(time.RFC3339Nano, string(text))
				if err != nil {
					panic(err)
				}
				mu.Lock()
				ages = append(ages, now.Sub(received))
				mu.Unlock()
			}
		})
	}
	open.Wait()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, conn := range conns {
		_ = conn.Close()
	}
	reading.Wait()
	slices.Sort(ages)
	r := clientReport{Pops: len(ages)}
	if n := len(ages); n > 0 {
		r.P50, r.P99, r.Max = ages[n/2], ages[n*99/100], ages[n-1]
	}
	_ = json.NewEncoder(os.Stdout).Encode(r)
}

// memory is what the process holds: the Go heap and stacks in use, and its
// resident memory as Linux counts it.
func memory(b *testing.B) (inUse, resident uint64) {
	b.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, _ := os.ReadFile("/proc/self/status")
	if _, rest, ok := strings.Cut(string(status), "VmRSS:"); ok {
		_, _ = fmt.Sscan(rest, &resident)
	}
	return m.HeapInuse + m.StackInuse, resident << 10
}

// BenchmarkFeeds holds 5,000 feeds, of an agent each and with clients in a process
// of their own, while 500 pops a second enter the spool. It reports how old a pop
// is when its client has it, and the memory a feed; each round is one pop.
func BenchmarkFeeds(b *testing.B) {
	r := serve(b, b.TempDir(), nil)
	before, residentBefore := memory(b)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", clientsVariable, r.http.Listener.Addr(), benchFeeds))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	said := bufio.NewReader(stdout)
	if line, err := said.ReadString('\n'); line != "ready\n" {
		b.Fatalf("the clients say %q, %v", line, err)
	}
	after, residentAfter := memory(b)
	pace := time.NewTicker(time.Second / benchRate)
	defer pace.Stop()
	sent := 0
	for b.Loop() {
		<-pace.C
		r.pop(fmt.Sprint(10_000+sent*7%benchFeeds), 0)
		sent++
	}
	// The last ones are under way for a moment.
	time.Sleep(500 * time.Millisecond)
	if err := stdin.Close(); err != nil {
		b.Fatal(err)
	}
	var report clientReport
	if err := json.NewDecoder(said).Decode(&report); err != nil {
		b.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
	if report.Pops != sent {
		b.Errorf("the clients have %d of %d pops", report.Pops, sent)
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(report.P50), "ms-p50")
	b.ReportMetric(ms(report.P99), "ms-p99")
	b.ReportMetric(ms(report.Max), "ms-max")
	b.ReportMetric(float64(after-before)/benchFeeds, "B-in-use/feed")
	b.ReportMetric(float64(residentAfter-residentBefore)/benchFeeds, "B-resident/feed")
	b.ReportMetric(benchFeeds, "feeds")
}
