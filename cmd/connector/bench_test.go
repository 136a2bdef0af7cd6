package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/callpop/connector/internal/bench"
	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/source/pop"
)

// runBench runs bench and reads its JSON, of which every figure that is there must
// be one: times are never looked at.
func runBench(t *testing.T, args ...string) bench.Result {
	t.Helper()
	r := connectorIn(t, []string{"HOME=" + t.TempDir()}, "", append([]string{"bench", "-o", "json"}, args...)...)
	if r.code != exitGood {
		t.Fatalf("code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	decoder := json.NewDecoder(strings.NewReader(r.stdout))
	decoder.DisallowUnknownFields()
	var result bench.Result
	if err := decoder.Decode(&result); err != nil {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	return result
}

// whole fails unless all pops arrived, once and in order, and each was seen at
// each of the instants.
func whole(t *testing.T, r bench.Result, pops int, instants ...string) {
	t.Helper()
	if got, want := r.Verified, (bench.Verified{Sent: pops, Delivered: pops}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := slices.Sorted(maps.Keys(r.Connector.Latency)); !slices.Equal(got, slices.Sorted(slices.Values(instants))) {
		t.Errorf("instants %q", got)
	}
	for instant, l := range r.Connector.Latency {
		if l == nil || l.Count != int64(pops) || l.P50 > l.P99 || l.P99 > l.Max {
			t.Errorf("%s: %+v of %d pops", instant, l, pops)
		}
	}
	c := r.Connector
	if c.Pops != pops || c.ConnectSeconds <= 0 || c.ReadySeconds <= 0 || c.CPUSeconds <= 0 || c.WireBytesPerPop < 30 || c.BodyBytesPerPop < 300 || c.SpoolBytesPerPop < 300 {
		t.Errorf("figures %+v", c)
	}
}

func TestBenchFindsEveryPopOnceAndInOrder(t *testing.T) {
	t.Run("spool", func(t *testing.T) {
		for _, format := range []string{pop.T1V1, pop.T1V5} {
			r := runBench(t, "--sessions", "20", "--rate", "200", "--duration", "1s", "--format", format)
			whole(t, r, 200, bench.Written, bench.Read, bench.Spooled, bench.Delivered)
			if r.Reader == nil || r.Reader.Pops != 200 || r.Publisher != nil {
				t.Errorf("bare reader %+v, publisher %+v", r.Reader, r.Publisher)
			}
		}
	})
	t.Run("nats", func(t *testing.T) {
		broker := startNATS(t)
		r := runBench(t, "--sessions", "20", "--rate", "300", "--duration", "1s", "--sink", "nats", "--nats", broker.url())
		whole(t, r, 300, bench.Written, bench.Read, bench.Spooled, bench.Acknowledged, bench.Delivered)
		if r.Publisher == nil || r.Publisher.Pops != 300 || r.Publisher.Latency[bench.Acknowledged].Count != 300 {
			t.Errorf("bare publisher %+v", r.Publisher)
		}
		for _, name := range []string{"pops_per_second", "acknowledged_p99", "read_p99", "cpu_us_per_pop", "connect_seconds"} {
			if r.Ratios[name] <= 0 {
				t.Errorf("no ratio %s in %v", name, r.Ratios)
			}
		}
		accounts, err := broker.s.Jsz(nil)
		if err != nil || accounts.Streams != 0 {
			t.Errorf("%d streams are left in the broker, %v", accounts.Streams, err)
		}
	})
	t.Run("kafka", func(t *testing.T) {
		kafka := strings.Join(kafkatest.Start(t, kafkatest.Options{}).Addresses(), ",")
		r := runBench(t, "--sessions", "20", "--rate", "200", "--duration", "1s", "--sink", "kafka", "--partitions", "3", "--kafka", kafka)
		whole(t, r, 200, bench.Written, bench.Read, bench.Spooled, bench.Acknowledged, bench.Delivered)
		if r.Publisher == nil || r.Publisher.Pops != 200 {
			t.Errorf("bare publisher %+v", r.Publisher)
		}
	})
	t.Run("as fast as it goes, a broker of its own", func(t *testing.T) {
		r := runBench(t, "--sessions", "20", "--rate", "0", "--duration", "300ms", "--sink", "nats")
		whole(t, r, r.Verified.Sent, bench.Spooled, bench.Acknowledged)
		if r.LatencyFrom != "read" || r.Verified.Sent == 0 {
			t.Errorf("from %s, %+v", r.LatencyFrom, r.Verified)
		}
	})
	t.Run("burst", func(t *testing.T) {
		r := runBench(t, "--sessions", "100", "--burst", "--sink", "nats")
		whole(t, r, 100, bench.Written, bench.Read, bench.Spooled, bench.Acknowledged, bench.Delivered)
		if r.Connector.UntilSeconds[bench.Acknowledged] <= 0 || r.Ratios["burst_acknowledged"] <= 0 {
			t.Errorf("until %v, ratios %v", r.Connector.UntilSeconds, r.Ratios)
		}
	})
	t.Run("backlog", func(t *testing.T) {
		r := runBench(t, "--sessions", "5", "--backlog", "3000", "--sink", "nats")
		if got, want := r.Verified, (bench.Verified{Sent: 3000, Delivered: 3000}); got != want || r.Connector.Pops != 3000 {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
	t.Run("idle", func(t *testing.T) {
		r := runBench(t, "--sessions", "10", "--idle", "--duration", "300ms", "--heartbeat", "50ms")
		if r.Connector.CPUPercent <= 0 || r.Reader == nil || r.Connector.Pops != 0 {
			t.Errorf("figures %+v", r.Connector)
		}
	})
}

func TestBenchShowsATableForPeople(t *testing.T) {
	r := connector(t, "", "bench", "--sessions", "5", "--rate", "50", "--duration", "200ms")
	if r.code != exitGood {
		t.Fatalf("code %d: %s", r.code, r.stderr)
	}
	for _, want := range []string{"connector", "ratio", "memory a session", "CPU a pop", "p99.9", "spooled", "10 sent, 10 delivered, 0 lost, 0 duplicates, 0 out of order"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	if !strings.Contains(r.stderr, "connecting 5 sessions") {
		t.Errorf("stderr %q", r.stderr)
	}
}

func TestBenchSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"--sink kafka needs --kafka", exitUsage, []string{"--sink", "kafka"}},
		{"--output is", exitUsage, []string{"-o", "yaml"}},
		{"connect to nats://127.0.0.1:1", exitFailed, []string{"--sessions", "1", "--sink", "nats", "--nats", "nats://127.0.0.1:1"}},
	} {
		if r := connector(t, "", append([]string{"bench"}, c.args...)...); r.code != c.code || !strings.Contains(r.stderr, c.want) || r.stdout != "" {
			t.Errorf("%q: code %d, stdout %q, stderr %q", c.args, r.code, r.stdout, r.stderr)
		}
	}
}
