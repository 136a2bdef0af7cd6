package web

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

var noon = time.Date(2025, 11, 23, 12, 0, 0, 0, time.UTC)

// trouble is a night on which everything is away.
func trouble() Readiness {
	return Readiness{
		State: Serving, Version: "1.2.3", StartedAt: noon.Add(-time.Hour),
		Spool: &Spool{State: SpoolLowSpace, Since: noon.Add(-time.Minute), Detail: "200MiB are free, min_free is 256MiB", FreeBytes: new(uint64(209715200))},
		Servers: []Server{
			{Name: "hq", Sources: []string{"hq"}, SessionsUp: new(18), SessionsWanted: new(20)},
			{Name: "hq2", Sources: []string{"desktops"}, SessionsUp: new(4)},
		},
		Sinks: []Sink{{Name: "events", Type: "nats", Lines: []Line{
			{Type: "callpop.v1", Delivery: Delivery{
				State: Retrying, Since: noon.Add(-90 * time.Second), Backlog: new(uint64(120)),
				OldestUndeliveredAt: noon.Add(-91500 * time.Millisecond),
				LastError:           "nats: no responders available", LastErrorAt: noon.Add(-time.Second),
				LastSuccessAt: noon.Add(-92 * time.Second),
			}},
			{Type: "callpop.session.v1", Delivery: Delivery{State: Idle, Backlog: new(uint64(3)), LastSuccessAt: noon.Add(-2 * time.Hour)}},
		}}},
	}
}

// The body is read by machines: its names may not change.
const troubleBody = `{
  "ready": true,
  "state": "serving",
  "problems": [
    "the spool is low_space: 200MiB are free, min_free is 256MiB",
    "server hq: 18 of 20 sessions are up",
    "sink events: callpop.v1 is not delivered since 2025-11-23T11:58:30Z, 120 events wait, the oldest for 92 s: nats: no responders available"
  ],
  "version": "1.2.3",
  "started_at": "2025-11-23T11:00:00Z",
  "spool": {
    "state": "low_space",
    "since": "2025-11-23T11:59:00Z",
    "detail": "200MiB are free, min_free is 256MiB",
    "free_bytes": 209715200
  },
  "servers": [
    {
      "name": "hq",
      "sources": [
        "hq"
      ],
      "state": "partial",
      "sessions_up": 18,
      "sessions_wanted": 20
    },
    {
      "name": "hq2",
      "sources": [
        "desktops"
      ],
      "sessions_up": 4
    }
  ],
  "sinks": [
    {
      "name": "events",
      "type": "nats",
      "state": "retrying",
      "oldest_undelivered_at": "2025-11-23T11:58:28.5Z",
      "oldest_undelivered_seconds": 91.5,
      "backlog": 123,
      "last_error": "nats: no responders available",
      "last_error_at": "2025-11-23T11:59:59Z",
      "last_success_at": "2025-11-23T11:58:28Z",
      "lines": [
        {
          "type": "callpop.v1",
          "state": "retrying",
          "since": "2025-11-23T11:58:30Z",
          "oldest_undelivered_at": "2025-11-23T11:58:28.5Z",
          "oldest_undelivered_seconds": 91.5,
          "backlog": 120,
          "last_error": "nats: no responders available",
          "last_error_at": "2025-11-23T11:59:59Z",
          "last_success_at": "2025-11-23T11:58:28Z"
        },
        {
          "type": "callpop.session.v1",
          "state": "idle",
          "backlog": 3,
          "last_success_at": "2025-11-23T10:00:00Z"
        }
      ]
    }
  ]
}`

func TestTheBodySaysWhatIsWrong(t *testing.T) {
	body, err := json.MarshalIndent(trouble().Derive(noon), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(body); got != troubleBody {
		t.Errorf("got %s\nwant %s", got, troubleBody)
	}
}

func TestTheBodyWhileAllIsWell(t *testing.T) {
	well := serving()
	well.Servers = []Server{{Name: "hq", SessionsUp: new(2), SessionsWanted: new(2)}}
	well.Sinks = []Sink{}
	body, err := json.Marshal(well.Derive(noon))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"ready":true,"state":"serving","spool":{"state":"serving"},` +
		`"servers":[{"name":"hq","state":"up","sessions_up":2,"sessions_wanted":2}],"sinks":[]}`
	if got := string(body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestDerivingChangesNothingOfTheCallers(t *testing.T) {
	given := trouble()
	given.Derive(noon)
	if want := trouble(); !reflect.DeepEqual(given, want) {
		t.Errorf("got %+v, want %+v", given, want)
	}
	// What the caller set in derived fields does not survive.
	wrong := Readiness{
		Ready: true, Problems: []string{"none"},
		Servers: []Server{{State: ServerUp}},
		Sinks:   []Sink{{Delivery: Delivery{State: Idle, Backlog: new(uint64(5)), OldestUndeliveredSeconds: new(1.0)}}},
	}
	got := wrong.Derive(noon)
	if got.Ready || got.Problems[0] == "none" || got.Servers[0].State != "" || !reflect.DeepEqual(got.Sinks[0].Delivery, Delivery{}) {
		t.Errorf("got %+v", got)
	}
}

func TestAServersStateFollowsItsCounts(t *testing.T) {
	for _, c := range []struct {
		up, wanted *int
		want       ServerState
	}{
		{new(20), new(20), ServerUp}, {new(21), new(20), ServerUp}, {new(1), new(20), ServerPartial},
		{new(0), new(20), ServerDown}, {new(0), new(0), ServerIdle}, {nil, new(1), ""}, {new(1), nil, ""}, {nil, nil, ""},
	} {
		if got := serverState(c.up, c.wanted); got != c.want {
			t.Errorf("serverState(%v, %v) = %q, want %q", c.up, c.wanted, got, c.want)
		}
	}
}

func TestASinkIsAsBadAsItsWorstLine(t *testing.T) {
	line := func(d Delivery) Line { return Line{Type: "x", Delivery: d} }
	for _, c := range []struct {
		name  string
		lines []Line
		want  Delivery
	}{
		{"no lines", nil, Delivery{}},
		{"all idle", []Line{line(Delivery{State: Idle, Backlog: new(uint64(0))}), line(Delivery{State: Idle, Backlog: new(uint64(0))})},
			Delivery{State: Idle, Backlog: new(uint64(0))}},
		{"one publishes", []Line{line(Delivery{State: Publishing, Backlog: new(uint64(1))}), line(Delivery{State: Idle, Backlog: new(uint64(2))})},
			Delivery{State: Publishing, Backlog: new(uint64(3))}},
		{"one retries", []Line{line(Delivery{State: Retrying}), line(Delivery{State: Publishing, Backlog: new(uint64(2))})},
			Delivery{State: Retrying}},
		{"one backlog is not known, the first", []Line{line(Delivery{}), line(Delivery{Backlog: new(uint64(2))})}, Delivery{}},
		{"one backlog is not known, the last", []Line{line(Delivery{Backlog: new(uint64(2))}), line(Delivery{})}, Delivery{}},
		{"the oldest of both", []Line{line(Delivery{OldestUndeliveredAt: noon}), line(Delivery{OldestUndeliveredAt: noon.Add(-time.Second)}), line(Delivery{})},
			Delivery{OldestUndeliveredAt: noon.Add(-time.Second)}},
		{"the newest error and success", []Line{
			line(Delivery{LastError: "b", LastErrorAt: noon, LastSuccessAt: noon.Add(-time.Second)}),
			line(Delivery{LastError: "a", LastErrorAt: noon.Add(-time.Second), LastSuccessAt: noon}),
		}, Delivery{LastError: "b", LastErrorAt: noon, LastSuccessAt: noon}},
	} {
		if got := sum(c.lines); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestAClockThatWasSetBackMakesNoNegativeAge(t *testing.T) {
	d := Delivery{OldestUndeliveredAt: noon.Add(time.Hour)}
	d.age(noon)
	if d.OldestUndeliveredSeconds == nil || *d.OldestUndeliveredSeconds != 0 {
		t.Errorf("got %v, want 0", d.OldestUndeliveredSeconds)
	}
}

func TestProblemsAreNamedWithAsMuchAsIsKnown(t *testing.T) {
	bare := Readiness{State: Starting, Sinks: []Sink{{Name: "lake", Lines: []Line{{Type: "callpop.v1", Delivery: Delivery{State: Retrying}}}}}}
	got := bare.Derive(noon).Problems
	want := []string{"the connector is starting", "the spool is not open", "sink lake: callpop.v1 is not delivered"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
