package source

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/schema"
)

// passed is a session that a test ends.
type passed struct {
	end  chan error
	left chan struct{}
	late bool // the server was not heard yet
}

func (p *passed) Read(heard func()) error {
	if p.late {
		heard()
	}
	select {
	case err := <-p.end:
		return err
	case <-p.left:
		return &Ended{State: schema.Closed, Reason: "closed", Err: errors.New("closed by the connector")}
	}
}

func (p *passed) Leave() { close(p.left) }

func newPassed() *passed { return &passed{end: make(chan error, 1), left: make(chan struct{})} }

func TestAFleetGoesOnWithTheSessionsOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		roster := origins(4) // 801 to 804
		var h history
		var dialling sync.Mutex // agents are dialled side by side
		dialled := map[string]int{}
		connect := func(_ context.Context, o *Origin) (Session, error) {
			dialling.Lock()
			dialled[o.Agent]++
			dialling.Unlock()
			return &passed{end: make(chan error, 1), left: make(chan struct{}), late: true}, nil
		}
		f, err := NewFleet(FleetOptions{
			Origins: roster, Connect: connect, Report: h.report, ReconnectInterval: time.Second,
			DialRate: NewDialRate(1000), Logger: quiet,
		})
		if err != nil {
			t.Fatal(err)
		}
		since := time.Now().Add(-time.Hour)
		kept, other, gone := newPassed(), newPassed(), newPassed()
		handed := func(o *Origin, s Session, up time.Time) Handed {
			return Handed{Agent: o.Agent, State: schema.Connected, Since: since, UpAt: up, DownSince: since, Session: s, Origin: o}
		}
		waiting := Handed{Agent: "803", State: schema.Failed, Since: since, DownSince: since, Failures: 3, Origin: roster[2]}
		f.Adopt([]Handed{
			handed(roster[0], kept, since),
			handed(&Origin{Server: "hq", Agent: "802"}, other, since), // as the roster would not have it
			waiting,
			handed(&Origin{Server: "hq", Agent: "809"}, gone, since), // not in the roster
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		synctest.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if dialled["801"] != 0 || dialled["802"] != 1 || dialled["803"] != 1 || dialled["804"] != 1 || dialled["809"] != 0 {
			t.Errorf("dialled: %v", dialled)
		}
		for agent, want := range map[string]int{"801": 0, "802": 3, "803": 1, "804": 2, "809": 1} {
			if got := h.states(agent); len(got) != want {
				t.Errorf("agent %s has the events %v, want %d", agent, got, want)
			}
		}
		if f.Up() != 4 || f.Wanted() != 4 {
			t.Errorf("%d of %d are up", f.Up(), f.Wanted())
		}
		if status, _ := f.Agent("801"); !status.Since.Equal(since) || status.State != schema.Connected {
			t.Errorf("agent 801: %+v", status)
		}

		// And now to the next one: nothing more is reported, nothing closed.
		if err := f.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		all, quiet := f.HandOver()
		if !quiet || len(all) != 4 {
			t.Fatalf("%v: %+v", quiet, all)
		}
		f.Part()
		for _, a := range all {
			a.Session.(*passed).end <- ErrParted
		}
		cancel()
		<-done
		for _, a := range all {
			select {
			case <-a.Session.(*passed).left:
				t.Errorf("agent %s's session was closed", a.Agent)
			default:
			}
		}
		if got := h.states("801"); len(got) != 0 {
			t.Errorf("agent 801 has the events %v", got)
		}
	})
}

func TestAPauseDialsNothingAndLosesNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h history
		attempts := 0
		f, err := NewFleet(FleetOptions{
			Origins: origins(1), Report: h.report, ReconnectInterval: time.Second,
			DialRate: NewDialRate(1000), Logger: quiet,
			Connect: func(ctx context.Context, _ *Origin) (Session, error) {
				if attempts++; attempts == 1 {
					<-ctx.Done() // a server that does not answer
					return nil, ctx.Err()
				}
				return &passed{end: make(chan error, 1), left: make(chan struct{}), late: true}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		synctest.Wait()
		if err := f.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if attempts != 1 {
			t.Errorf("%d attempts during a pause", attempts)
		}
		f.Unpause()
		synctest.Wait()
		if states := h.states("801"); len(states) != 2 || states[1] != schema.Connected {
			t.Errorf("the events are %v", states)
		}
		cancel()
		<-done
	})
}
