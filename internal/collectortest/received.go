package collectortest

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// Span is a span as it was received. Attributes hold strings, int64s, float64s,
// booleans and slices of them.
type Span struct {
	TraceID, SpanID, ParentID string
	Name                      string
	// Kind is the number of OTLP: 1 internal, 2 server, 3 client, 4 producer,
	// 5 consumer.
	Kind       int
	Start, End time.Time
	Attributes map[string]any
	Events     []Event
	Links      []Link
	// Failed and Status are its status.
	Failed   bool
	Status   string
	Resource map[string]any
	// Schema is the schema URL of its scope.
	Schema string
}

// Event is one of a span's.
type Event struct {
	Name       string
	Attributes map[string]any
}

// Link is one of a span's.
type Link struct{ TraceID, SpanID string }

// Log is a log line as it was received.
type Log struct {
	Severity, Body  string
	TraceID, SpanID string
	Attributes      map[string]any
	Resource        map[string]any
}

// Metric is the name of a metric as it was received, and its unit.
type Metric struct {
	Name, Unit string
	Resource   map[string]any
}

// attributes of OTLP's JSON.
type attributes []struct {
	Key   string `json:"key"`
	Value value  `json:"value"`
}

type value struct {
	String *string  `json:"stringValue"`
	Int    *string  `json:"intValue"`
	Double *float64 `json:"doubleValue"`
	Bool   *bool    `json:"boolValue"`
	Array  *struct {
		Values []value `json:"values"`
	} `json:"arrayValue"`
}

func (v value) any() any {
	switch {
	case v.String != nil:
		return *v.String
	case v.Int != nil:
		n, _ := strconv.ParseInt(*v.Int, 10, 64)
		return n
	case v.Double != nil:
		return *v.Double
	case v.Bool != nil:
		return *v.Bool
	case v.Array != nil:
		var all []any
		for _, each := range v.Array.Values {
			all = append(all, each.any())
		}
		return all
	default:
		return nil
	}
}

func (a attributes) values() map[string]any {
	values := map[string]any{}
	for _, each := range a {
		values[each.Key] = each.Value.any()
	}
	return values
}

type nanos string

func (n nanos) time() time.Time {
	at, _ := strconv.ParseInt(string(n), 10, 64)
	return time.Unix(0, at)
}

type resource struct {
	Attributes attributes `json:"attributes"`
}

type wireSpan struct {
	TraceID    string     `json:"traceId"`
	SpanID     string     `json:"spanId"`
	ParentID   string     `json:"parentSpanId"`
	Name       string     `json:"name"`
	Kind       int        `json:"kind"`
	Start      nanos      `json:"startTimeUnixNano"`
	End        nanos      `json:"endTimeUnixNano"`
	Attributes attributes `json:"attributes"`
	Events     []struct {
		Name       string     `json:"name"`
		Attributes attributes `json:"attributes"`
	} `json:"events"`
	Links []struct {
		TraceID string `json:"traceId"`
		SpanID  string `json:"spanId"`
	} `json:"links"`
	Status struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"status"`
}

func (w *wireSpan) span(of resource, schema string) Span {
	const failed = 2
	s := Span{
		TraceID: w.TraceID, SpanID: w.SpanID, ParentID: w.ParentID, Name: w.Name, Kind: w.Kind,
		Start: w.Start.time(), End: w.End.time(), Attributes: w.Attributes.values(),
		Failed: w.Status.Code == failed, Status: w.Status.Message, Resource: of.Attributes.values(), Schema: schema,
	}
	for _, e := range w.Events {
		s.Events = append(s.Events, Event{e.Name, e.Attributes.values()})
	}
	for _, l := range w.Links {
		s.Links = append(s.Links, Link{l.TraceID, l.SpanID})
	}
	return s
}

// Spans returns what was received, in the order of their arrival.
func (c *Collector) Spans() (spans []Span) {
	c.t.Helper()
	lines(c, "traces", func(line struct {
		ResourceSpans []struct {
			Resource   resource `json:"resource"`
			ScopeSpans []struct {
				SchemaURL string     `json:"schemaUrl"`
				Spans     []wireSpan `json:"spans"`
			} `json:"scopeSpans"`
		} `json:"resourceSpans"`
	},
	) {
		for _, r := range line.ResourceSpans {
			for _, s := range r.ScopeSpans {
				for i := range s.Spans {
					spans = append(spans, s.Spans[i].span(r.Resource, s.SchemaURL))
				}
			}
		}
	})
	return spans
}

// Logs returns what was received, in the order of their arrival.
func (c *Collector) Logs() (logs []Log) {
	c.t.Helper()
	lines(c, "logs", func(line struct {
		ResourceLogs []struct {
			Resource  resource `json:"resource"`
			ScopeLogs []struct {
				LogRecords []struct {
					Severity   string     `json:"severityText"`
					Body       value      `json:"body"`
					Attributes attributes `json:"attributes"`
					TraceID    string     `json:"traceId"`
					SpanID     string     `json:"spanId"`
				} `json:"logRecords"`
			} `json:"scopeLogs"`
		} `json:"resourceLogs"`
	},
	) {
		for _, r := range line.ResourceLogs {
			for _, s := range r.ScopeLogs {
				for _, l := range s.LogRecords {
					body, _ := l.Body.any().(string)
					logs = append(logs, Log{l.Severity, body, l.TraceID, l.SpanID, l.Attributes.values(), r.Resource.Attributes.values()})
				}
			}
		}
	})
	return logs
}

// Metrics returns the metrics that were received, once for each time.
func (c *Collector) Metrics() (metrics []Metric) {
	c.t.Helper()
	lines(c, "metrics", func(line struct {
		ResourceMetrics []struct {
			Resource     resource `json:"resource"`
			ScopeMetrics []struct {
				Metrics []struct {
					Name string `json:"name"`
					Unit string `json:"unit"`
				} `json:"metrics"`
			} `json:"scopeMetrics"`
		} `json:"resourceMetrics"`
	},
	) {
		for _, r := range line.ResourceMetrics {
			for _, s := range r.ScopeMetrics {
				for _, m := range s.Metrics {
					metrics = append(metrics, Metric{m.Name, m.Unit, r.Resource.Attributes.values()})
				}
			}
		}
	})
	return metrics
}

// lines reads a signal's file, one value a line. The last line may be on its way.
func lines[T any](c *Collector, signal string, each func(T)) {
	c.t.Helper()
	for line := range bytes.Lines(c.read(signal)) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			return
		}
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			c.t.Fatalf("the collector wrote %q: %v", line, err)
		}
		each(v)
	}
}

// WaitSpans waits until there are at least n spans that the filter lets through, and
// returns those; nil lets all through.
func (c *Collector) WaitSpans(n int, filter func(Span) bool) (spans []Span) {
	c.t.Helper()
	c.await(strconv.Itoa(n)+" spans", func() bool {
		spans = nil
		for _, s := range c.Spans() {
			if filter == nil || filter(s) {
				spans = append(spans, s)
			}
		}
		return len(spans) >= n
	})
	return spans
}
