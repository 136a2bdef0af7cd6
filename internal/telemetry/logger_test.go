package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/callpop/connector/internal/secret"
)

// style is a way to write the log, and how to read a value back from it.
type style struct {
	name     string
	format   string
	terminal bool
}

func styles() []style {
	return []style{
		{"json", FormatJSON, false},
		{"json on a terminal", FormatJSON, true},
		{"text", FormatText, false},
		{"text on a terminal", FormatText, true},
	}
}

func newLogger(s style, numbers bool) (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	logger, _ := NewLogger(&out, Config{Level: "info", Format: s.format, Numbers: numbers}, s.terminal)
	return logger, &out
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestTheFormatFollowsTheConfigurationAndTheTerminal(t *testing.T) {
	for _, c := range []struct {
		format     string
		terminal   bool
		wantJSON   bool
		wantColour bool
	}{
		{FormatAuto, false, true, false},
		{FormatAuto, true, false, true},
		{FormatJSON, true, true, false},
		{FormatText, false, false, false},
		{FormatText, true, false, true},
	} {
		logger, out := newLogger(style{"", c.format, c.terminal}, false)
		logger.Info("session connected", "server", "hq", "agent", "801", "sessions", 20, "after", 1500*time.Millisecond)
		var record map[string]any
		isJSON := json.Unmarshal(out.Bytes(), &record) == nil
		if isJSON != c.wantJSON {
			t.Errorf("format %s, terminal %t: wrote %q", c.format, c.terminal, out)
		}
		if got := strings.Contains(out.String(), "\x1b["); got != c.wantColour {
			t.Errorf("format %s, terminal %t: coloured %t, want %t", c.format, c.terminal, got, c.wantColour)
		}
		if isJSON && (record["msg"] != "session connected" || record["server"] != "hq" || record["sessions"] != 20.0) {
			t.Errorf("format %s, terminal %t: wrote %q", c.format, c.terminal, out)
		}
		if plain := colours.ReplaceAllString(out.String(), ""); !isJSON &&
			!strings.HasSuffix(plain, " INF session connected server=hq agent=801 sessions=20 after=1.5s\n") {
			t.Errorf("format %s, terminal %t: wrote %q", c.format, c.terminal, plain)
		}
	}
}

func TestTheLevelIsTheConfiguredOneUntilItIsChanged(t *testing.T) {
	for _, c := range []struct {
		level string
		want  slog.Level
	}{
		{"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warn", slog.LevelWarn}, {"error", slog.LevelError},
	} {
		_, level := NewLogger(&bytes.Buffer{}, Config{Level: c.level, Format: FormatAuto}, false)
		if level.Level() != c.want {
			t.Errorf("level %s: starts at %v, want %v", c.level, level.Level(), c.want)
		}
	}
	for _, s := range styles() {
		var out bytes.Buffer
		logger, level := NewLogger(&out, Config{Level: "warn", Format: s.format}, s.terminal)
		derived := logger.With("server", "hq").WithGroup("g")
		derived.Info("one")
		level.Set(slog.LevelDebug)
		derived.Debug("two")
		level.Set(slog.LevelError)
		derived.Warn("three")
		if got := out.String(); strings.Contains(got, "one") || !strings.Contains(got, "two") || strings.Contains(got, "three") {
			t.Errorf("%s: wrote %q", s.name, got)
		}
	}
}

type stringer struct{ text string }

func (s stringer) String() string { return s.text }

type valuer struct{ text string }

func (v valuer) LogValue() slog.Value { return slog.StringValue(v.text) }

type marshaler struct{ text string }

func (m marshaler) MarshalText() ([]byte, error) { return []byte(m.text), nil }

// hostile values: each would forge a line, drive a terminal, or turn text around.
func hostile() []string {
	return []string{
		"a\nlevel=ERROR msg=forged", "a\r\nb", "\x1b[2J\x1b]0;title\x07", "\x00\x08\x7f", "c1 \u009b31m \u0085",
		"turned \u202egnp.exe", "\u2066x\u2069", "line \u2028 paragraph \u2029", "broken \xff\xfe gbk \xd5\xc5",
		`spelled out \x1b[31m and \u001b[31m and \n`, `" quoted="yes`, "tag \U000e0001", "bom \ufeff",
	}
}

func TestNothingReachesTheLogUnescaped(t *testing.T) {
	for _, s := range styles() {
		for _, evil := range hostile() {
			logger, out := newLogger(s, true)
			logger = logger.With("with", evil).WithGroup("group " + evil)
			logger.Info(evil, "string", evil, "error", errors.New(evil), "bytes", []byte(evil), "stringer", stringer{evil},
				"valuer", valuer{evil}, "marshaler", marshaler{evil}, "struct", struct{ Text string }{evil},
				"list", []string{evil}, "map", map[string]string{evil: evil}, slog.Group("in", "string", evil),
				"number", evil, "raw", evil, "msg", evil, evil, evil)
			line := colours.ReplaceAllString(out.String(), "")
			if !strings.HasSuffix(line, "\n") || strings.Count(line, "\n") != 1 {
				t.Errorf("%s: %q is not one line: %q", s.name, evil, line)
			}
			if !utf8.ValidString(line) {
				t.Errorf("%s: %q: not UTF-8: %q", s.name, evil, line)
			}
			for _, r := range strings.TrimSuffix(line, "\n") {
				if !unicode.IsPrint(r) {
					t.Errorf("%s: %q: %U reached the log: %q", s.name, evil, r, line)
					break
				}
			}
			// The only escape sequences are the colours, and none is the value's.
			if strings.Contains(out.String(), "\x1b[31m") || strings.Contains(out.String(), "\x1b[2J") {
				t.Errorf("%s: %q: a live escape sequence: %q", s.name, evil, out)
			}
		}
	}
}

func TestWhatIsEscapedInJSONReadsBackAsItWas(t *testing.T) {
	for _, evil := range hostile() {
		logger, out := newLogger(style{"", FormatJSON, false}, true)
		logger.Info(evil, "value", evil)
		var record struct{ Msg, Value string }
		if err := json.Unmarshal(out.Bytes(), &record); err != nil {
			t.Fatalf("%q: %v in %q", evil, err, out)
		}
		want := string([]rune(evil)) // invalid bytes become the replacement character
		if record.Value != want || record.Msg != want {
			t.Errorf("got %q and %q, want %q", record.Msg, record.Value, want)
		}
	}
}

func TestTextThatPeopleWriteStaysReadable(t *testing.T) {
	logger, out := newLogger(style{"", FormatText, false}, false)
	logger.Info("dial failed", "cause", "connection refused", "name", "张三", "empty", "", "nothing", nil,
		"path", `C:\data`, "agents", []string{"801", "802"}, "group name", 1)
	want := ` INF dial failed cause="connection refused" name=张三 empty="" nothing=<nil> path="C:\\data" agents="[801 802]" group_name=1` + "\n"
	if _, got, _ := strings.Cut(out.String(), " "); " "+got != want {
		t.Errorf("got  %q\nwant %q", " "+got, want)
	}
}

func TestCustomersNumbersAreMaskedByTheirKeys(t *testing.T) {
	const number, digits = "13812345678", "13812345678"
	type event struct{ Customer struct{ Number string } }
	var whole event
	whole.Customer.Number = number
	log := func(l *slog.Logger) {
		l.With("phone", number).WithGroup("call").Info("pop", "number", number, "E164", "+86"+number,
			slog.Group("customer", "number", number), "caller", stringer{number}, "callee", 13812345678,
			"raw", "2,"+number+",1000,1208674344953,NA", "query", "phone="+number+"&oper=801", "body", []byte(`{"number":"`+number+`"}`),
			"event", whole, "events", []*event{&whole}, "map", map[string]string{"a": number}, "raw_base64", "MTM4MTIzNDU2Nzg=")
	}
	for _, s := range styles() {
		masked, out := newLogger(s, false)
		log(masked)
		if strings.Contains(out.String(), digits) || strings.Contains(out.String(), "MTM4") || strings.Contains(out.String(), "1208674344953") {
			t.Errorf("%s: a number in %q", s.name, out)
		}
		if got := strings.Count(out.String(), "138****5678"); got < 8 {
			t.Errorf("%s: %d masked numbers in %q, want 8 or more", s.name, got, out)
		}
		open, out := newLogger(s, true)
		log(open)
		if got := strings.Count(out.String(), digits); got < 11 || strings.Contains(out.String(), "****") {
			t.Errorf("%s, numbers on: %d numbers in %q", s.name, got, out)
		}
	}
}

func TestWhatIsNoNumberIsNotMasked(t *testing.T) {
	for _, s := range styles() {
		logger, out := newLogger(s, false)
		logger.Info("stored 12345678 events", "sequence", uint64(12345678), "sn", "20251123000017", "agent", "13800000801",
			"cause", errors.New("maximum is 1073741824 bytes"), "sizes", []int{4, 1000})
		for _, want := range []string{"stored 12345678 events", "12345678", "20251123000017", "13800000801", "1073741824", "1000"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing in %q", s.name, want, out)
			}
		}
		if strings.Contains(out.String(), "****") {
			t.Errorf("%s: masked: %q", s.name, out)
		}
	}
}

func TestSecretsStayRedacted(t *testing.T) {
	for _, s := range styles() {
		logger, out := newLogger(s, true)
		v := secret.New("hunter2")
		logger.Info("login", "password", v, "pointer", &v, "in", struct{ Password secret.Value }{v}, "raw", v)
		if strings.Contains(out.String(), "hunter2") || !strings.Contains(out.String(), "[redacted]") {
			t.Errorf("%s: wrote %q", s.name, out)
		}
	}
}

func TestALongValueIsCutBetweenCharactersAndSaysSo(t *testing.T) {
	for _, s := range styles() {
		logger, out := newLogger(s, true)
		long := "x" + strings.Repeat("号", 100_000)
		logger.Info(long, "string", long, "error", errors.New(long), "list", []string{long})
		if out.Len() > 4*(maxText+100) {
			t.Errorf("%s: wrote %d bytes", s.name, out.Len())
		}
		if got := strings.Count(out.String(), "more bytes)"); got != 4 {
			t.Errorf("%s: %d values say that they were cut, want 4", s.name, got)
		}
		if strings.Contains(out.String(), "\ufffd") || strings.Contains(out.String(), `\x`) {
			t.Errorf("%s: cut inside a character", s.name)
		}
	}
}

type panicking struct{}

func (panicking) String() string { panic("no") }

type failing struct{}

func (failing) MarshalText() ([]byte, error) { return nil, errors.New("cannot") }

type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func TestAValueThatCannotBeWrittenCostsOnlyItself(t *testing.T) {
	for _, s := range styles() {
		logger, out := newLogger(s, false)
		var none *nilError
		logger.Info("here", "nil", error(none), "panic", panicking{}, "fail", failing{}, "number", panicking{},
			"channel", make(chan int), "after", "there")
		got := out.String()
		if !strings.Contains(got, "here") || !strings.Contains(got, "there") || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: wrote %q", s.name, got)
		}
		if !strings.Contains(got, "!PANIC") || !strings.Contains(got, "!ERROR: cannot") {
			t.Errorf("%s: does not say what failed: %q", s.name, got)
		}
	}
}

func TestAWrongConfigurationIsRefusedByKeyAndValue(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Level: "loud", Format: "json"}, `level: "loud": expected debug, info, warn or error`},
		{Config{Level: "", Format: "json"}, `level: "": expected debug, info, warn or error`},
		{Config{Level: "info", Format: "xml"}, `format: "xml": expected auto, json or text`},
		{Config{Level: "INFO", Format: ""}, "level: \"INFO\": expected debug, info, warn or error\nformat: \"\": expected auto, json or text"},
	} {
		if err := c.config.Validate(); err == nil || err.Error() != c.want {
			t.Errorf("%+v: got %v, want %s", c.config, err, c.want)
		}
	}
}
