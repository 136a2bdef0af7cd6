package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// history collects what a fleet reports.
type history struct {
	mu      sync.Mutex
	changes map[string][]SessionChange
}

func (h *history) report(o *Origin, c SessionChange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changes == nil {
		h.changes = map[string][]SessionChange{}
	}
	h.changes[o.Agent] = append(h.changes[o.Agent], c)
}

func (h *history) states(agent string) (states []schema.SessionState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.changes[agent] {
		states = append(states, c.State)
	}
	return states
}

func origins(n int) []*Origin {
	all := make([]*Origin, n)
	for i := range all {
		all[i] = &Origin{Server: "hq", Agent: fmt.Sprint(801 + i)}
	}
	return all
}

// attempt is a whole session as one function, for tests.
type attempt func(ctx context.Context, o *Origin, heard func()) error

type attempted struct {
	attempt
	origin *Origin
	life   context.Context
	leave  context.CancelFunc
}

func (a attempted) Read(heard func()) error { return a.attempt(a.life, a.origin, heard) }
func (a attempted) Leave()                  { a.leave() }

func (a attempt) connect(_ context.Context, o *Origin) (Session, error) {
	life, leave := context.WithCancel(context.Background())
	return attempted{a, o, life, leave}, nil
}

func newFleet(t *testing.T, o FleetOptions) *Fleet {
	t.Helper()
	if o.DialRate == nil {
		o.DialRate = NewDialRate(50)
	}
	if o.ReconnectInterval == 0 {
		o.ReconnectInterval = 20 * time.Second
	}
	o.Logger = quiet
	f, err := NewFleet(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

var errRefused = &Ended{State: schema.Failed, Reason: "refused", Err: errors.New("connection refused")}

func TestNoMoreSessionsAreOpeningAtATimeThanStacksStaySmallWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const agents = maxAttempts + 50
		var mu sync.Mutex
		opening, most, opened := 0, 0, 0
		f := newFleet(t, FleetOptions{
			Origins: origins(agents), Report: (&history{}).report, DialRate: NewDialRate(100_000),
			Connect: func(ctx context.Context, o *Origin) (Session, error) {
				mu.Lock()
				opening++
				opened++
				most = max(most, opening)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				opening--
				mu.Unlock()
				return attempt(func(ctx context.Context, _ *Origin, heard func()) error {
					heard()
					<-ctx.Done()
					return ctx.Err()
				}).connect(ctx, o)
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		time.Sleep(1500 * time.Millisecond)
		if got := f.Up(); got != maxAttempts {
			t.Errorf("%d are up after the first second, want %d", got, maxAttempts)
		}
		time.Sleep(time.Second)
		if got := f.Up(); got != agents {
			t.Errorf("%d are up in the end, want %d", got, agents)
		}
		cancel()
		<-done
		if most != maxAttempts || opened != agents {
			t.Errorf("%d were opening at a time and %d in all, want %d and %d", most, opened, maxAttempts, agents)
		}
	})
}

func TestASessionThatIsReadAgainGoesOnUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h history
		reads := 0
		again := attempt(func(ctx context.Context, _ *Origin, heard func()) error {
			reads++
			if reads == 1 {
				heard()
			}
			if reads < 4 {
				return ErrAgain
			}
			<-ctx.Done()
			return ctx.Err()
		})
		f := newFleet(t, FleetOptions{Origins: origins(1), Report: h.report, Connect: again.connect})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		synctest.Wait()
		if got := f.Up(); got != 1 || reads != 4 {
			t.Errorf("%d are up after %d reads, want 1 after 4", got, reads)
		}
		cancel()
		<-done
		want := []schema.SessionState{schema.Connecting, schema.Connected, schema.Closed}
		if got := h.states("801"); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestAFleetReportsEachChangeOnceAndItsGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h history
		start := time.Now()
		tries := 0
		f := newFleet(t, FleetOptions{
			Origins: origins(1), Report: h.report, Absences: aliveUntil(t, start.Add(-time.Minute)),
			Connect: attempt(func(ctx context.Context, _ *Origin, heard func()) error {
				tries++
				switch tries {
				case 1, 2, 3, 5, 6:
					return errRefused
				case 4: // up for an hour, heard for the last time ten seconds before its end
					heard()
					time.Sleep(time.Hour)
					return &Ended{State: schema.Expired, LastHeard: time.Now().Add(-10 * time.Second), Err: errors.New("no heartbeat")}
				default:
					heard()
					<-ctx.Done()
					return ctx.Err()
				}
			}).connect,
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		time.Sleep(3 * time.Hour)
		if got := f.Up(); got != 1 {
			t.Errorf("up = %d, want 1", got)
		}
		cancel()
		<-done
		want := []schema.SessionState{schema.Connecting, schema.Failed, schema.Connected, schema.Expired, schema.Connected, schema.Closed}
		if got := h.states("801"); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		changes := h.changes["801"]
		if gap := changes[2].Gap; gap == nil || !gap.From.Equal(start.Add(-time.Minute)) || !gap.To.Equal(changes[2].At) {
			t.Errorf("the first gap is %v", gap)
		}
		if gap := changes[4].Gap; gap == nil || !gap.From.Equal(changes[3].At.Add(-10*time.Second)) {
			t.Errorf("the second gap is %v, the session ended at %v", gap, changes[3].At)
		}
		if got := f.Up(); got != 0 {
			t.Errorf("up after the end = %d", got)
		}
	})
}

func TestPausesGrowToTheReconnectIntervalAndNeverFallIntoStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		tries := map[string][]time.Time{}
		f := newFleet(t, FleetOptions{
			Origins: origins(200), Report: (&history{}).report, DialRate: NewDialRate(10_000),
			Connect: attempt(func(_ context.Context, o *Origin, _ func()) error {
				mu.Lock()
				defer mu.Unlock()
				tries[o.Agent] = append(tries[o.Agent], time.Now())
				return errRefused
			}).connect,
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		f.Run(ctx)
		seconds := map[int64]int{}
		total := 0
		for agent, at := range tries {
			// Below a bound of 20 s the mean pause is 10 s: some 60 tries in 10 minutes.
			if len(at) < 35 || len(at) > 110 {
				t.Errorf("agent %s tried %d times in ten minutes", agent, len(at))
			}
			for i := 1; i < len(at); i++ {
				if pause := at[i].Sub(at[i-1]); pause > 20*time.Second {
					t.Errorf("agent %s paused %v", agent, pause)
				}
			}
			for _, a := range at {
				if since := a.Sub(tries[agent][0]); since > 5*time.Minute {
					seconds[a.Unix()]++
					total++
				}
			}
		}
		// 200 agents that try every 10 s are 20 tries a second; agents in step would
		// make seconds with 200.
		for second, n := range seconds {
			if n > 60 {
				t.Errorf("%d tries in second %d of %d tries in all", n, second, total)
			}
		}
	})
}

func TestDialRateIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var dials []time.Time
		f := newFleet(t, FleetOptions{
			Origins: origins(2000), Report: (&history{}).report, DialRate: NewDialRate(50),
			Connect: attempt(func(ctx context.Context, _ *Origin, heard func()) error {
				mu.Lock()
				dials = append(dials, time.Now())
				mu.Unlock()
				heard()
				<-ctx.Done()
				return ctx.Err()
			}).connect,
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		time.Sleep(41 * time.Second)
		if got := f.Up(); got != 2000 {
			t.Errorf("%d of 2000 up after 40 s at 50 a second", got)
		}
		for i := range dials {
			if j := i + 55; j < len(dials) && dials[j].Sub(dials[i]) < time.Second-time.Millisecond {
				t.Fatalf("56 dials within %v", dials[j].Sub(dials[i]))
			}
		}
		cancel()
		<-done
	})
}

// nosy is the error of an attempt that calls back when somebody looks at it.
type nosy struct{ look func() }

func (nosy) Error() string   { return "refused" }
func (n nosy) Is(error) bool { n.look(); return false }

func TestAnAgentMayLeaveJustAsItsAttemptHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h history
		var f *Fleet
		f = newFleet(t, FleetOptions{
			Origins: origins(1), Report: h.report,
			Connect: func(context.Context, *Origin) (Session, error) {
				return nil, nosy{func() {
					f.pause(true)
					f.Unpause()
					f.Set(nil, CauseRoster)
				}}
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		synctest.Wait()
		if _, ok := f.Agent("801"); ok || f.Wanted() != 0 {
			t.Error("the agent has not left")
		}
		if got := h.states("801"); len(got) == 0 || got[len(got)-1] != schema.Closed {
			t.Errorf("reported is %v, want closed at the end", got)
		}
		cancel()
		<-done
	})
}

func TestAServerThatHangsUpAtOnceIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		f := newFleet(t, FleetOptions{
			Origins: origins(1), Report: (&history{}).report,
			Connect: attempt(func(_ context.Context, _ *Origin, heard func()) error {
				tries++
				heard()
				return &Ended{State: schema.Reconnecting, LastHeard: time.Now(), Err: errors.New("closed by the server")}
			}).connect,
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		f.Run(ctx)
		if tries > 1000 {
			t.Errorf("%d sessions in an hour", tries)
		}
	})
}

// aliveUntil are the absences of a connector that ran until then.
func aliveUntil(t testing.TB, at time.Time) *Absences {
	t.Helper()
	a, err := NewAbsences(nil, at)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
