package relay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

// roleVariable, in the environment, makes the test's binary an LQ server or the
// desktops: one process may not open the descriptors of all sides, and what the
// others do must not count as the relay's.
const roleVariable = "CONNECTOR_TEST_RELAY_ROLE"

func playRole(role string) (exitCode int) {
	play := map[string]func(*bufio.Scanner) error{"server": playServer, "desktops": playDesktops}[role]
	if err := play(bufio.NewScanner(os.Stdin)); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		return 1
	}
	return 0
}

// load is one measured stretch of pops.
type load struct {
	Desktops int           // of each kind
	Rate     int           // pops a second
	Window   time.Duration // of one kind, then of the other
	Windows  int           // of each kind
}

func (l load) perWindow() int { return int(float64(l.Rate) * l.Window.Seconds()) }

// kinds of desktops, by the first letter of their agents: those connected to the
// server and those connected to the relay.
const kinds = "dr"

func agentName(kind byte, i int) string { return fmt.Sprintf("%c%05d", kind, i) }

// playServer prints its address, and sends what each line of its input says.
func playServer(input *bufio.Scanner) error {
	server, err := lqsim.New(lqsim.Options{Heartbeat: 5 * time.Second})
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	running.Go(func() { _ = server.Run(ctx) })
	fmt.Println(server.Addr())
	for input.Scan() {
		var l load
		if err := json.Unmarshal(input.Bytes(), &l); err != nil {
			return err
		}
		sn := 0
		start := time.Now()
		for window := range 2 * l.Windows {
			kind := kinds[window%2]
			for i := range l.perWindow() {
				time.Sleep(time.Until(start.Add(time.Duration(sn) * time.Second / time.Duration(l.Rate))))
				sn++
				agent := agentName(kind, i%l.Desktops)
				raw := fmt.Sprintf("H=t1v5,ch=2,ph=86307627,ty=1,tm=080711175931,op=%s,sn=%d,so=0,dm=0,mb=%d,da=%d;", agent, sn, window/2, time.Now().UnixNano())
				if err := server.Send(agent, []byte(raw)); err != nil {
					return err
				}
			}
		}
		fmt.Println(sn)
	}
	return input.Err()
}

// connections is what desktops to make: Desktops at each address.
type connections struct {
	Addresses []string // in the order of kinds
	Desktops  int
}

// latencies are those of the pops that one kind of desktops got.
type latencies struct {
	Pops     int
	P50, P99 time.Duration // of all
	// WindowP50 and WindowP99 are the medians over the windows: what else the
	// machine does comes in bursts, and hits few of them.
	WindowP50, WindowP99 time.Duration
}

// summarize sorts what was seen in each window.
func summarize(windows map[int64][]time.Duration) (l latencies) {
	at := func(sorted []time.Duration, percent int) time.Duration { return sorted[len(sorted)*percent/100] }
	var all, p50, p99 []time.Duration
	for _, seen := range windows {
		slices.Sort(seen)
		p50, p99 = append(p50, at(seen, 50)), append(p99, at(seen, 99))
		all = append(all, seen...)
	}
	if len(all) == 0 {
		return l
	}
	slices.Sort(all)
	slices.Sort(p50)
	slices.Sort(p99)
	return latencies{len(all), at(all, 50), at(all, 99), at(p50, 50), at(p99, 50)}
}

// playDesktops connects, prints a line when every desktop has heard the server, and
// for each further line of its input what latencies it saw since the last.
func playDesktops(input *bufio.Scanner) error {
	var c connections
	if !input.Scan() {
		return input.Err()
	}
	if err := json.Unmarshal(input.Bytes(), &c); err != nil {
		return err
	}
	var (
		reading     sync.WaitGroup
		up, endings atomic.Int64
		mu          sync.Mutex
		seen        = make([]map[int64][]time.Duration, len(c.Addresses)) // by window
		conns       []net.Conn
	)
	for kind := range seen {
		seen[kind] = map[int64][]time.Duration{}
	}
	desktop := func(kind int, conn net.Conn) {
		defer endings.Add(1)
		var decoder frame.Decoder
		first := true
		for {
			n, err := conn.Read(decoder.Buffer())
			now := time.Now().UnixNano()
			decoder.Wrote(n)
			for f, ok := decoder.Next(); ok; f, ok = decoder.Next() {
				switch f.Kind {
				case frame.Heartbeat:
					_, _ = io.WriteString(conn, frame.Reply)
				case frame.Pop:
					var window, at int64
					_, numbers, _ := bytes.Cut(f.Data, []byte("mb="))
					_, _ = fmt.Sscanf(string(numbers), "%d,da=%d;", &window, &at)
					mu.Lock()
					seen[kind][window] = append(seen[kind][window], time.Duration(now-at))
					mu.Unlock()
				}
			}
			if first && n > 0 {
				first = false
				up.Add(1)
			}
			if err != nil {
				return
			}
		}
	}
	for i := range c.Desktops {
		for kind, address := range c.Addresses {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return err
			}
			conns = append(conns, conn)
			if _, err := fmt.Fprintf(conn, "op=%s,ch=-1;", agentName(kinds[kind], i)); err != nil {
				return err
			}
			reading.Go(func() { desktop(kind, conn) })
		}
	}
	for up.Load() < int64(len(conns)) {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println("up")
	for input.Scan() {
		mu.Lock()
		report := make([]latencies, len(seen))
		for kind, windows := range seen {
			report[kind] = summarize(windows)
			clear(windows)
		}
		mu.Unlock()
		if n := endings.Load(); n > 0 {
			return fmt.Errorf("%d of %d connections ended", n, len(conns))
		}
		if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
			return err
		}
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	reading.Wait()
	return nil
}

// actor is a process that plays a role.
type actor struct {
	tb      testing.TB
	input   io.WriteCloser
	output  *bufio.Scanner
	command *exec.Cmd
}

func startActor(tb testing.TB, role string) *actor {
	tb.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), roleVariable+"="+role)
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	must(tb, err)
	output, err := command.StdoutPipe()
	must(tb, err)
	must(tb, command.Start())
	a := &actor{tb: tb, input: input, output: bufio.NewScanner(output), command: command}
	tb.Cleanup(a.end)
	return a
}

func (a *actor) end() {
	_ = a.input.Close()
	_ = a.command.Wait()
}

// tell sends a line; hear waits for one.
func (a *actor) tell(v any) {
	a.tb.Helper()
	must(a.tb, json.NewEncoder(a.input).Encode(v))
}

func (a *actor) hear() string {
	a.tb.Helper()
	if !a.output.Scan() {
		a.tb.Fatalf("the process ended: %v", a.output.Err())
	}
	return a.output.Text()
}

// benchRelay runs a relay with an intake whose log takes all; stored counts pops.
func benchRelay(b *testing.B, address string, clients int) (s *Source, stored *atomic.Int64) {
	b.Helper()
	stored = &atomic.Int64{}
	quiet := slog.New(slog.DiscardHandler)
	in, err := source.NewIntake(source.IntakeOptions{Logger: quiet, Emit: func(_ context.Context, e schema.Event) error {
		if e.Type == schema.TypeCallPop {
			stored.Add(1)
		}
		return nil
	}})
	must(b, err)
	c := testConfig(address)
	c.MaxClients, c.MaxClientsPerAddress = clients, clients
	s, err = New(c, Options{Intake: in, Logger: quiet})
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = in.Run(context.Background()) })
	running.Go(func() { _ = s.Run(ctx); in.Close() })
	b.Cleanup(func() { cancel(); running.Wait() })
	return s, stored
}

// once lets a benchmark run once, whatever its time: it measures a whole and no
// operation. The loop's first turn forgets what was reported before it.
func once(b *testing.B) {
	for b.Loop() {
		runtime.Gosched()
	}
}

// BenchmarkAddedLatency sends 1,000 pops a second to 1,000 desktops, by turns to
// some that are connected to the server and some that are behind the relay, and
// prints what the relay adds from the server's write to the desktop's read.
func BenchmarkAddedLatency(b *testing.B) {
	once(b)
	// The heartbeats of all come at once, every 5 s: not always in the same kind's
	// windows, of which 12.5 pass meanwhile.
	l := load{Desktops: 1000, Rate: 1000, Window: 400 * time.Millisecond, Windows: 25}
	server := startActor(b, "server")
	address := server.hear()
	s, stored := benchRelay(b, address, l.Desktops)
	desktops := startActor(b, "desktops")
	desktops.tell(connections{Addresses: []string{address, s.Addr().String()}, Desktops: l.Desktops})
	desktops.hear()
	measure := func(l load) (kinds []latencies) {
		before := stored.Load()
		server.tell(l)
		sent, err := strconv.Atoi(server.hear())
		must(b, err)
		eventually(b, "all that was relayed is stored", func() bool { return stored.Load() == before+int64(sent/2) })
		desktops.tell(nil)
		must(b, json.Unmarshal([]byte(desktops.hear()), &kinds))
		return kinds
	}
	warm := l
	warm.Windows = 2
	measure(warm)
	got := measure(l)
	direct, relayed := got[0], got[1]
	if want := l.perWindow() * l.Windows; relayed.Pops != want || direct.Pops < want*99/100 { // some may be on their way
		b.Errorf("%d pops came directly and %d relayed, want %d each", direct.Pops, relayed.Pops, want)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(direct.WindowP50.Microseconds()), "direct-p50-µs")
	b.ReportMetric(float64(direct.WindowP99.Microseconds()), "direct-p99-µs")
	b.ReportMetric(float64((relayed.WindowP50 - direct.WindowP50).Microseconds()), "added-p50-µs")
	b.ReportMetric(float64((relayed.WindowP99 - direct.WindowP99).Microseconds()), "added-p99-µs")
	b.ReportMetric(float64(relayed.WindowP99)/float64(direct.WindowP99), "ratio-p99")
	b.Logf("all windows in one: %v directly, %v relayed at the 99th percentile", direct.P99, relayed.P99)
}

// BenchmarkDesktops holds 5,000 desktops through some heartbeats and prints the
// relay's resident memory for each.
func BenchmarkDesktops(b *testing.B) {
	once(b)
	const desktops = 5000
	server := startActor(b, "server")
	address := server.hear()
	s, _ := benchRelay(b, address, desktops)
	runtime.GC()
	debug.FreeOSMemory()
	before := resident(b)
	actor := startActor(b, "desktops")
	actor.tell(connections{Addresses: []string{s.Addr().String()}, Desktops: desktops})
	actor.hear()
	eventually(b, "all are up", func() bool { return s.Status().Up == desktops })
	<-time.After(11 * time.Second) // two heartbeats
	runtime.GC()
	debug.FreeOSMemory()
	b.ReportMetric(float64(resident(b)-before)/desktops, "B/desktop")
	b.ReportMetric(float64(runtime.NumGoroutine())/desktops, "goroutines/desktop")
	b.ReportMetric(0, "ns/op")
	actor.tell(nil)
	actor.hear() // which fails if a connection ended
	if got := s.Status(); got.Up != desktops || got.Wanted != desktops {
		b.Errorf("status %+v, want %d up", got, desktops)
	}
}

// resident is this process's resident memory in bytes.
func resident(tb testing.TB) int {
	tb.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Skip("no /proc/self/status to read the resident memory from")
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			must(tb, err)
			return kib << 10
		}
	}
	tb.Fatal("no VmRSS")
	return 0
}
