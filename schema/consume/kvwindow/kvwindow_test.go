package kvwindow_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/callpop/connector/schema/consume"
	"github.com/callpop/connector/schema/consume/kvwindow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what takes seconds on an idle machine.
const patience = 60 * time.Second

// newJetStream starts a real server and connects to it.
func newJetStream(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	conn, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// open opens the window as one replica of a consumer does.
func open(t *testing.T, js jetstream.JetStream, o kvwindow.Options) *kvwindow.Window {
	t.Helper()
	w, err := kvwindow.Open(t.Context(), js, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func claim(t *testing.T, w *kvwindow.Window, id string, want consume.Verdict) {
	t.Helper()
	if got, err := w.Claim(t.Context(), id); got != want || err != nil {
		t.Errorf("claim %s: got %q, %v, want %s", id, got, err, want)
	}
}

const id = "019a0000-0000-7000-8000-000000000001"

func TestReplicasShareWhatWasHandled(t *testing.T) {
	js := newJetStream(t)
	o := kvwindow.Options{Bucket: "crm-handled", Age: time.Hour, Lease: time.Minute}
	one, other := open(t, js, o), open(t, js, o)
	claim(t, one, id, consume.Fresh)
	claim(t, one, id, consume.Busy)
	claim(t, other, id, consume.Busy)
	if err := one.Release(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	claim(t, other, id, consume.Fresh)
	if err := other.Settle(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	claim(t, one, id, consume.Handled)
	claim(t, one, id+".replay.r1", consume.Fresh)
}

func TestOneOfManyReplicasMayHandleAnEvent(t *testing.T) {
	js := newJetStream(t)
	var fresh atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		w := open(t, js, kvwindow.Options{Bucket: "b", Age: time.Hour, Lease: time.Minute})
		all.Go(func() {
			if verdict, err := w.Claim(context.Background(), id); err != nil {
				t.Error(err)
			} else if verdict == consume.Fresh {
				fresh.Add(1)
			}
		})
	}
	all.Wait()
	if fresh.Load() != 1 {
		t.Errorf("%d replicas may handle it", fresh.Load())
	}
}

func TestTheClaimOfAReplicaThatDiedEndsAndWhatWasSettledStays(t *testing.T) {
	js := newJetStream(t)
	w := open(t, js, kvwindow.Options{Bucket: "b", Age: time.Hour, Lease: time.Second})
	claim(t, w, "settled", consume.Fresh)
	if err := w.Settle(t.Context(), "settled"); err != nil {
		t.Fatal(err)
	}
	claim(t, w, id, consume.Fresh) // and nothing more: its replica died
	for deadline := time.Now().Add(patience); ; {
		verdict, err := w.Claim(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if verdict == consume.Fresh {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the claim does not end")
		}
		<-time.After(50 * time.Millisecond)
	}
	claim(t, w, "settled", consume.Handled) // beyond the lease of its claim
}

func TestAWindowThatCannotWorkIsRefused(t *testing.T) {
	for _, o := range []kvwindow.Options{
		{Bucket: "b", Age: time.Hour},
		{Bucket: "b", Age: time.Second, Lease: time.Minute},
	} {
		if _, err := kvwindow.Open(t.Context(), nil, o); err == nil || !strings.Contains(err.Error(), "open window b: lease") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := kvwindow.Open(t.Context(), newJetStream(t), kvwindow.Options{Bucket: "no bucket", Age: time.Hour, Lease: time.Second}); err == nil ||
		!strings.Contains(err.Error(), "open window no bucket") {
		t.Errorf("an illegal name: %v", err)
	}
}
