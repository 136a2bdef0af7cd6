package telemetry

import (
	"context"
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/lmittmann/tint"
	"go.opentelemetry.io/contrib/bridges/otelslog"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/internal/tracing"
)

// NewLogger makes a logger that writes to w, one Write a record, and the variable
// that holds its level, for changing it while the process runs. terminal says
// that w is one: format auto is then text, and text is coloured. c is one that
// Validate accepts; an unknown level is info.
func NewLogger(w io.Writer, c Config, terminal bool) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	start, _ := c.level()
	level.Set(start)

	text := c.Format == FormatText || c.Format == FormatAuto && terminal
	var next slog.Handler
	if text {
		next = tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: "15:04:05.000", NoColor: !terminal})
	} else {
		next = slog.NewJSONHandler(jsonWriter{w}, &slog.HandlerOptions{Level: level})
	}
	return slog.New(&guard{next: next, text: text, numbers: c.Numbers}), level
}

// Logger returns a logger that writes as log does, and exports what it writes where
// logs are exported. level is log's; numbers says whether customers' numbers are
// exported in full, which a collector has no need of.
func (t *Telemetry) Logger(log *slog.Logger, level slog.Leveler, numbers bool) *slog.Logger {
	if t.logs == nil {
		return log
	}
	bridge := otelslog.NewHandler(tracing.Scope, otelslog.WithLoggerProvider(t.logs),
		otelslog.WithVersion(t.version), otelslog.WithSchemaURL(tracing.SchemaURL))
	exported := &guard{next: leveled{bridge, level}, exported: true, numbers: numbers}
	return slog.New(slog.NewMultiHandler(log.Handler(), exported))
}

// leveled holds back what is less important than a level.
type leveled struct {
	slog.Handler
	level slog.Leveler
}

func (l leveled) Enabled(_ context.Context, level slog.Level) bool { return level >= l.level.Level() }

func (l leveled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return leveled{l.Handler.WithAttrs(attrs), l.level}
}

func (l leveled) WithGroup(name string) slog.Handler {
	return leveled{l.Handler.WithGroup(name), l.level}
}

// guard stands before the handler that writes: it resolves values, masks
// customers' numbers, cuts what is too long, and makes sure that the handler
// behind it writes nothing unescaped. tint writes messages as they are, and in
// colour turns an escape sequence in a quoted value, even a spelled-out \x1b,
// into a live one.
type guard struct {
	next slog.Handler
	// text: next writes text. exported: next is the way to a collector, which finds
	// the ids of a trace by itself and is sent values without structure.
	text, exported bool
	numbers        bool
}

func (g *guard) Enabled(ctx context.Context, level slog.Level) bool {
	return g.next.Enabled(ctx, level)
}

func (g *guard) Handle(ctx context.Context, r slog.Record) error {
	message := shorten(r.Message)
	if g.text {
		message = escape(message)
	}
	safe := slog.NewRecord(r.Time, r.Level, message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		safe.AddAttrs(g.attr(a))
		return true
	})
	if sc := trace.SpanContextFromContext(ctx); sc.IsValid() && !g.exported {
		safe.AddAttrs(slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String()))
	}
	return g.next.Handle(ctx, safe)
}

func (g *guard) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &guard{next: g.next.WithAttrs(g.attrs(attrs)), text: g.text, exported: g.exported, numbers: g.numbers}
}

func (g *guard) WithGroup(name string) slog.Handler {
	return &guard{next: g.next.WithGroup(cleanKey(name)), text: g.text, exported: g.exported, numbers: g.numbers}
}

func (g *guard) attrs(attrs []slog.Attr) []slog.Attr {
	safe := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		safe[i] = g.attr(a)
	}
	return safe
}

func (g *guard) attr(a slog.Attr) slog.Attr {
	value := a.Value.Resolve()
	safe := slog.Attr{Key: cleanKey(a.Key)}
	if value.Kind() == slog.KindGroup {
		safe.Value = slog.GroupValue(g.attrs(value.Group())...)
		return safe
	}
	if mask := maskFor(a.Key); mask != nil && !g.numbers {
		safe.Value = g.string(mask(printed(value)))
		return safe
	}
	switch value.Kind() {
	case slog.KindString:
		safe.Value = g.string(value.String())
	case slog.KindAny:
		safe.Value = g.any(value)
	default: // numbers, booleans and times hold nothing to escape
		safe.Value = value
	}
	return safe
}

// string makes a value of s. For text, whatever needs quotes goes as bytes, which
// tint quotes with strconv.Quote and nothing else.
func (g *guard) string(s string) slog.Value {
	s = shorten(s)
	if g.text && needsQuotes(s) {
		return slog.AnyValue([]byte(s))
	}
	return slog.StringValue(s)
}

// any makes a value of one that is no basic type. A whole struct or map may hold
// a number anywhere: there, runs of digits that may be one are masked.
func (g *guard) any(value slog.Value) slog.Value {
	switch v := value.Any().(type) {
	case nil:
		return g.string("<nil>")
	case error, encoding.TextMarshaler, fmt.Stringer, []byte:
		return g.string(printed(value))
	default:
		if g.text {
			return g.string(g.maskRuns(printed(value)))
		}
		body, err := json.Marshal(v)
		if err != nil {
			return g.string("!ERROR: " + err.Error())
		}
		if masked := g.maskRuns(string(body)); masked != string(body) || len(body) > maxText || g.exported {
			return g.string(masked)
		}
		return slog.AnyValue(json.RawMessage(body))
	}
}

func (g *guard) maskRuns(s string) string {
	if g.numbers {
		return s
	}
	return maskRuns(s, longRun)
}

// printed is the text of a value. A method that panics, as those of nil pointers
// may, costs its value and not the process.
func printed(value slog.Value) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprintf("!PANIC: %v", r)
		}
	}()
	if value.Kind() != slog.KindAny {
		return value.String()
	}
	switch v := value.Any().(type) {
	case error:
		return v.Error()
	case encoding.TextMarshaler:
		body, err := v.MarshalText()
		if err != nil {
			return "!ERROR: " + err.Error()
		}
		return string(body)
	case []byte:
		return string(v)
	default:
		return fmt.Sprintf("%+v", v)
	}
}

// SetLevel puts the level of c in force; an unknown one is info.
func SetLevel(v *slog.LevelVar, c Config) {
	level, _ := c.level()
	v.Set(level)
}
