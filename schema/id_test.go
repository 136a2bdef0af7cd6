package schema_test

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/callpop/connector/schema"
)

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func TestNewIDIsAUUIDv7OfItsTime(t *testing.T) {
	r := newRandom(5)
	for range 10_000 {
		now := time.Unix(r.Int64N(1<<33), r.Int64N(1e9))
		id := schema.NewID(now)
		if !uuid7.MatchString(id) {
			t.Fatalf("id %q is no UUIDv7", id)
		}
		parsed, err := uuid.Parse(id)
		if err != nil {
			t.Fatalf("id %q: %v", id, err)
		}
		if parsed.Version() != 7 || parsed.Variant() != uuid.RFC4122 {
			t.Fatalf("id %q: version %v, variant %v, want 7 and RFC 4122", id, parsed.Version(), parsed.Variant())
		}
		milli := int64(0)
		for _, b := range parsed[:6] {
			milli = milli<<8 | int64(b)
		}
		if milli != now.UnixMilli() {
			t.Fatalf("id %q at %v has the milliseconds %d, want %d", id, now, milli, now.UnixMilli())
		}
		fraction := int64(parsed[6]&0xF)<<8 | int64(parsed[7])
		if got, want := fraction, int64(now.Nanosecond()%1_000_000)*4096/1_000_000; got != want {
			t.Fatalf("id %q at %v has the fraction %d, want %d", id, now, got, want)
		}
	}
}

func TestIDsMadeInRisingTimeSort(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var ids []string
	for range 20_000 { // over several milliseconds and a second's edge
		ids = append(ids, schema.NewID(now))
		now = now.Add(250)
	}
	for range 10 {
		ids = append(ids, schema.NewID(now))
		now = now.Add(333 * time.Millisecond)
	}
	if !slices.IsSorted(ids) {
		t.Error("ids do not sort in the order of their times")
	}
}

func TestIDsOfOneInstantDiffer(t *testing.T) {
	now := time.Now()
	seen := make(map[string]bool)
	for range 20_000 {
		seen[schema.NewID(now)] = true
	}
	if got, want := len(seen), 20_000; got != want {
		t.Errorf("%d different ids of %d", got, want)
	}
}

func TestAnIDBefore1970CountsAs1970(t *testing.T) {
	id := schema.NewID(time.Date(1969, 12, 31, 23, 59, 59, 999_000_000, time.UTC))
	if !uuid7.MatchString(id) || !strings.HasPrefix(id, "00000000-0000-7000-") {
		t.Errorf("got %q, want the time of 1970", id)
	}
}

func TestFingerprintIsTheStatedHash(t *testing.T) {
	r := newRandom(6)
	for _, size := range []int{0, 1, 81, 255, 500, 513, 5000} {
		server, agent, raw := r.anyText(), r.anyText(), []byte(strings.Repeat("x", size))
		sum := sha256.Sum256([]byte(server + "\x00" + agent + "\x00" + string(raw)))
		want := hex.EncodeToString(sum[:])[:32]
		if got := schema.Fingerprint(server, agent, raw); got != want {
			t.Errorf("raw of %d bytes: got %s, want %s", size, got, want)
		}
		if got := string(schema.AppendFingerprint([]byte("before"), server, agent, raw)); got != "before"+want {
			t.Errorf("raw of %d bytes: appended %s, want before%s", size, got, want)
		}
	}
	// Frozen, as it is part of version 1.
	got, want := schema.Fingerprint("hq", "801", []byte("2,02586307627,1000,1208674344953,NA")), "61760a7eccdc6e0c6be69d45d0fb712c"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFingerprintTellsServerAgentAndRawApart(t *testing.T) {
	seen := make(map[string][3]string)
	for _, c := range [][3]string{{"a", "b", "c"}, {"ab", "", "c"}, {"", "ab", "c"}, {"a", "", "bc"}, {"a", "bc", ""}, {"abc", "", ""}, {"", "", "abc"}} {
		fingerprint := schema.Fingerprint(c[0], c[1], []byte(c[2]))
		if other, ok := seen[fingerprint]; ok {
			t.Errorf("%q and %q share a fingerprint", c, other)
		}
		seen[fingerprint] = c
	}
}

func TestIDAndFingerprintAndSubjectAppendWithoutAllocating(t *testing.T) {
	dst := make([]byte, 0, 256)
	raw := []byte(strings.Repeat("x", 255))
	now := time.Now()
	for name, f := range map[string]func(){
		"AppendID":          func() { dst = schema.AppendID(dst[:0], now) },
		"AppendFingerprint": func() { dst = schema.AppendFingerprint(dst[:0], "headquarters", "801", raw) },
		"AppendKey":         func() { dst = schema.AppendKey(dst[:0], "hq", "", "12157703713752", "") },
		"AppendSubject":     func() { dst = schema.AppendSubject(dst[:0], "callpop.v1", "h q", "801") },
	} {
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s: %v allocations, want 0", name, got)
		}
	}
}

func TestKeyTakesTheFirstThatIsKnown(t *testing.T) {
	for _, c := range []struct{ sn, id, event, want string }{
		{"1234", "12157703713752", "e", "hq/1234"},
		{"1234", "", "e", "hq/1234"},
		{"", "12157703713752", "e", "hq/12157703713752"},
		{"", "", "e", "hq/e"},
	} {
		if got := schema.Key("hq", c.sn, c.id, c.event); got != c.want {
			t.Errorf("sn %q, id %q: got %q, want %q", c.sn, c.id, got, c.want)
		}
		if got := string(schema.AppendKey([]byte("x"), "hq", c.sn, c.id, c.event)); got != "x"+c.want {
			t.Errorf("sn %q, id %q: appended %q, want x%q", c.sn, c.id, got, c.want)
		}
	}
	if got, want := schema.AgentKey("hq", "801"), "hq/801"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := schema.AgentKey("hq", ""), "hq"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestModeOfNamesTheNineModes(t *testing.T) {
	want := map[int]struct {
		mode      schema.Mode
		direction schema.Direction
	}{
		-1: {}, 0: {}, 1: {"inbound", "inbound"}, 2: {"manual_outbound", "outbound"}, 3: {"inbound_conference", "inbound"},
		4: {"auto_outbound", "outbound"}, 5: {"inbound_transfer", "inbound"}, 6: {"outbound_transfer", "outbound"},
		7: {"outbound_conference", "outbound"}, 8: {"test", ""}, 9: {"reserved", ""}, 10: {}, 1 << 40: {},
	}
	for code, w := range want {
		if mode, direction := schema.ModeOf(code); mode != w.mode || direction != w.direction {
			t.Errorf("code %d: got %q, %q, want %q, %q", code, mode, direction, w.mode, w.direction)
		}
	}
}
