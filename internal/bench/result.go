package bench

import (
	"time"
)

// Result is what a run found. Its JSON is what `connector bench -o json` prints:
// fields are added, never renamed.
type Result struct {
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Machine   Machine   `json:"machine"`
	Options   Options   `json:"options"`
	// LatencyFrom says from when latencies are counted: due, the instant at which
	// a pop was meant to be written; or read, where there was no such instant.
	LatencyFrom string  `json:"latency_from"`
	Connector   Figures `json:"connector"`
	// Reader is the program that only reads the sessions, Publisher the one that
	// only publishes; nil where they were not measured.
	Reader    *Figures `json:"bare_reader,omitempty"`
	Publisher *Figures `json:"bare_publisher,omitempty"`
	// Ratios are the connector's figures divided by the bare ones, by name.
	Ratios   map[string]float64 `json:"ratios,omitempty"`
	Verified Verified           `json:"verified"`
}

// Machine is what the run had to work with.
type Machine struct {
	System string `json:"system"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Go     string `json:"go"`
	// Load is the machine's load average over a minute before the run: other work,
	// which figures suffer from.
	Load float64 `json:"load"`
}

// Figures are one process's.
type Figures struct {
	// ReadySeconds is from the process's start until it served.
	ReadySeconds float64 `json:"ready_seconds,omitempty"`
	// ConnectSeconds is from the first dial until the server was heard on all
	// sessions.
	ConnectSeconds float64 `json:"connect_seconds,omitempty"`
	// BytesPerSession is the resident memory with all sessions, less that without,
	// for each; ResidentBytes is the process's at the end, and HeapBytes what the
	// collector found alive.
	BytesPerSession float64 `json:"bytes_per_session,omitempty"`
	ResidentBytes   int64   `json:"resident_bytes,omitempty"`
	HeapBytes       int64   `json:"heap_bytes,omitempty"`

	// Pops were written, or messages published; Seconds is until the last one was
	// delivered, or acknowledged.
	Pops          int     `json:"pops"`
	Seconds       float64 `json:"seconds"`
	PopsPerSecond float64 `json:"pops_per_second,omitempty"`
	// CPUSeconds is what the process used meanwhile; CPUPercent that in percent of
	// one core.
	CPUSeconds float64 `json:"cpu_seconds"`
	CPUPercent float64 `json:"cpu_percent"`
	// CPUMicrosPerPop is for each pop.
	CPUMicrosPerPop float64 `json:"cpu_us_per_pop,omitempty"`

	// Latency is by the instant that a pop came to: written, read, spooled,
	// acknowledged, delivered. In seconds.
	Latency map[string]*Latency `json:"latency_seconds,omitempty"`
	// UntilSeconds is, for a burst, how long until the last pop came to it.
	UntilSeconds map[string]float64 `json:"until_seconds,omitempty"`
	// Pauses are the collector's stops of the process; GCCycles its runs.
	Pauses   *Latency `json:"gc_pause_seconds,omitempty"`
	GCCycles uint64   `json:"gc_cycles"`
	// WireBytesPerPop came over the socket for each pop, BodyBytesPerPop are its
	// event's body, SpoolBytesPerPop what it takes on disk, headers included.
	WireBytesPerPop  float64 `json:"wire_bytes_per_pop,omitempty"`
	BodyBytesPerPop  float64 `json:"body_bytes_per_pop,omitempty"`
	SpoolBytesPerPop float64 `json:"spool_bytes_per_pop,omitempty"`
}

// Verified counts what reached the subscriber.
type Verified struct {
	Sent      int `json:"sent"`
	Delivered int `json:"delivered"`
	// Lost were sent and never delivered, Duplicates delivered more than once.
	Lost       int `json:"lost"`
	Duplicates int `json:"duplicates"`
	// OutOfOrder came before an earlier pop of their call, or of their call over
	// the same session.
	OutOfOrder int `json:"out_of_order"`
	// Late were in the topic, but had not come to the subscriber when the run gave
	// up waiting: they are missing in the latencies of delivery.
	Late int `json:"late,omitempty"`
	// Missed could not be sent, for want of a session.
	Missed int `json:"missed"`
}

// The names of instants.
const (
	Written      = "written"
	Read         = "read"
	Spooled      = "spooled"
	Acknowledged = "acknowledged"
	Delivered    = "delivered"
)

// Instants are in the order in which a pop comes to them.
var Instants = [...]string{Written, Read, Spooled, Acknowledged, Delivered}

// used fills in what a process used for pops pops between two measurements.
func (f *Figures) used(before, after Usage, took time.Duration) (err error) {
	f.Seconds = took.Seconds()
	f.CPUSeconds = (after.CPU - before.CPU).Seconds()
	if took > 0 {
		f.CPUPercent = 100 * f.CPUSeconds / took.Seconds()
		f.PopsPerSecond = float64(f.Pops) / took.Seconds()
	}
	if f.Pops > 0 {
		f.CPUMicrosPerPop = 1e6 * f.CPUSeconds / float64(f.Pops)
	}
	f.GCCycles = after.Cycles - before.Cycles
	f.ResidentBytes, f.HeapBytes = after.Resident, after.Heap
	f.Pauses, err = pauses(before, after)
	return err
}

// compare fills in the ratios.
func (r *Result) compare() {
	r.Ratios = map[string]float64{}
	ratio := func(name string, ours, bare float64) {
		if ours > 0 && bare > 0 {
			r.Ratios[name] = ours / bare
		}
	}
	p99 := func(f *Figures, instant string) float64 {
		if f == nil || f.Latency[instant] == nil {
			return 0
		}
		return f.Latency[instant].P99
	}
	c := &r.Connector
	bareCPU := 0.0
	if b := r.Reader; b != nil {
		ratio("connect_seconds", c.ConnectSeconds, b.ConnectSeconds)
		ratio("bytes_per_session", c.BytesPerSession, b.BytesPerSession)
		ratio("read_p99", p99(c, Read), p99(b, Read))
		bareCPU += b.CPUMicrosPerPop
	}
	if b := r.Publisher; b != nil {
		ratio("pops_per_second", c.PopsPerSecond, b.PopsPerSecond)
		ratio("acknowledged_p99", p99(c, Acknowledged), p99(b, Acknowledged))
		ratio("burst_acknowledged", c.UntilSeconds[Acknowledged], b.UntilSeconds[Acknowledged])
		bareCPU += b.CPUMicrosPerPop
	}
	ratio("cpu_us_per_pop", c.CPUMicrosPerPop, bareCPU)
}
