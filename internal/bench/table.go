package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteTable writes the result for people: each figure, the bare program's beside
// it, and how many times that it is.
func (r *Result) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	t := table{w}
	c := &r.Connector
	reader, publisher := r.Reader, r.Publisher
	if reader == nil {
		reader = &Figures{}
	}
	if publisher == nil {
		publisher = &Figures{}
	}
	t.line("", "connector", "bare", "ratio", "")
	t.row("time to connect all", seconds(c.ConnectSeconds), seconds(reader.ConnectSeconds), r.Ratios["connect_seconds"], "bare reader")
	t.row("memory a session", size(c.BytesPerSession), size(reader.BytesPerSession), r.Ratios["bytes_per_session"], "bare reader")
	t.row("start", seconds(c.ReadySeconds), "", 0, "")
	if c.Pops > 0 {
		t.row("pops", fmt.Sprint(c.Pops), "", 0, "")
		t.row("pops a second", rate(c.PopsPerSecond), rate(publisher.PopsPerSecond), r.Ratios["pops_per_second"], "bare publisher")
		bare := reader.CPUMicrosPerPop + publisher.CPUMicrosPerPop
		t.row("CPU a pop", micros(c.CPUMicrosPerPop), micros(bare), r.Ratios["cpu_us_per_pop"], "bare reader and publisher")
	}
	t.row("CPU, of one core", percent(c.CPUPercent), percent(reader.CPUPercent), 0, "bare reader")
	t.row("memory at the end", size(float64(c.ResidentBytes)), "", 0, "")
	for _, instant := range Instants {
		l := c.UntilSeconds[instant]
		bare := reader.UntilSeconds[instant]
		if instant == Acknowledged {
			bare = publisher.UntilSeconds[instant]
		}
		t.row("all "+instant+" after", seconds(l), seconds(bare), 0, "")
	}
	t.row("on the wire, in the event, in the spool", bytesOf(c), "", 0, "bytes a pop")
	if err := w.Flush(); err != nil {
		return err
	}

	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	t = table{w}
	from := "when a pop was due"
	if r.LatencyFrom == "read" {
		from = "when it was read"
	}
	if len(c.Latency) > 0 {
		t.line("")
		t.line("from "+from+" to", "p50", "p90", "p99", "p99.9", "max", "")
		for _, instant := range Instants {
			t.latency(instant, c.Latency[instant])
		}
		t.latency("bare reader: read", reader.Latency[Read])
		t.latency("bare publisher: acknowledged", publisher.Latency[Acknowledged])
	}
	t.latency("the collector's pauses", c.Pauses)
	if err := w.Flush(); err != nil {
		return err
	}
	v := r.Verified
	if v.Sent > 0 {
		_, err := fmt.Fprintf(out, "\n%d sent, %d delivered, %d lost, %d duplicates, %d out of order\n", v.Sent, v.Delivered, v.Lost, v.Duplicates, v.OutOfOrder)
		return err
	}
	return nil
}

type table struct{ w io.Writer }

func (t table) line(cells ...string) {
	_, _ = fmt.Fprintln(t.w, strings.Join(cells, "\t")) // its writer reports at Flush
}

// row writes a figure, unless there is none.
func (t table) row(name, ours, bare string, ratio float64, note string) {
	if ours == "" {
		return
	}
	times := ""
	if ratio > 0 {
		times = fmt.Sprintf("%.2f", ratio)
	}
	if bare == "" {
		note = strings.TrimPrefix(note, "bare reader and publisher")
		if strings.HasPrefix(note, "bare") {
			note = ""
		}
	}
	t.line(name, ours, bare, times, note)
}

func (t table) latency(name string, l *Latency) {
	if l == nil {
		return
	}
	t.line(name, seconds(l.P50), seconds(l.P90), seconds(l.P99), seconds(l.P999), seconds(l.Max), "")
}

// The figures as people write them; empty where there is none.

func seconds(s float64) string {
	switch {
	case s <= 0:
		return ""
	case s < 1e-3:
		return fmt.Sprintf("%.0f µs", s*1e6)
	case s < 1:
		return fmt.Sprintf("%.2f ms", s*1e3)
	default:
		return time.Duration(s * float64(time.Second)).Round(time.Millisecond).String()
	}
}

func size(bytes float64) string {
	switch {
	case bytes <= 0:
		return ""
	case bytes < 1<<20:
		return fmt.Sprintf("%.1f KiB", bytes/(1<<10))
	default:
		return fmt.Sprintf("%.1f MiB", bytes/(1<<20))
	}
}

func rate(r float64) string    { return unlessZero("%.0f", r) }
func micros(us float64) string { return unlessZero("%.1f µs", us) }
func percent(p float64) string { return unlessZero("%.1f %%", p) }

func unlessZero(format string, value float64) string {
	if value <= 0 {
		return ""
	}
	return fmt.Sprintf(format, value)
}

func bytesOf(f *Figures) string {
	if f.WireBytesPerPop <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f, %.0f, %.0f", f.WireBytesPerPop, f.BodyBytesPerPop, f.SpoolBytesPerPop)
}
