package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

func TestAConfigurationSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Name = "" }, `name is ""`},
		{func(c *Config) { c.Server = "a/b" }, `server is "a/b"`},
		{func(c *Config) { c.Listen = "7628" }, `listen is "7628": expected the host and port`},
		{func(c *Config) { c.Listen = "0.0.0.0:" }, `listen is "0.0.0.0:"`},
		{func(c *Config) { c.Address = "" }, `address is "": expected the LQ server's host and port`},
		{func(c *Config) { c.Address = ":7628" }, `address is ":7628"`},
		{func(c *Config) { c.AgentPattern = "op=(" }, `agent_pattern is "op=("`},
		{func(c *Config) { c.AgentPattern = `op=(\d+)` }, "a group named agent"},
		{func(c *Config) { c.AgentPattern = `(?P<agent>\d+)(?P<chanel>x)` }, `unknown group "chanel"`},
		{func(c *Config) { c.AgentPattern = "(?P<agent>" + strings.Repeat("x", maxPattern) + ")" }, "at most 1024"},
		{func(c *Config) { c.Charset = "latin1" }, `charset is "latin1"`},
		{func(c *Config) { c.Timezone = "Mars/Base" }, `timezone is "Mars/Base"`},
		{func(c *Config) { c.AreaCode = "x" }, `area_code is "x"`},
		{func(c *Config) { c.ExpireAfter = time.Millisecond }, "expire_after is 1ms"},
		{func(c *Config) { c.DialTimeout = 0 }, "dial_timeout is 0s"},
		{func(c *Config) { c.MaxClients = 0 }, "max_clients is 0"},
		{func(c *Config) { c.MaxClientsPerAddress = -1 }, "max_clients_per_address is -1"},
		{func(c *Config) { c.Allow = []string{"10.0.0.0/8", "10.0.0.300"} }, `allow, entry 2 is "10.0.0.300"`},
		{func(c *Config) { c.Allow = []string{"10.0.0.1/8"} }, "expected 10.0.0.0/8"},
		{func(c *Config) { c.Allow = []string{"::ffff:10.0.0.0/104"} }, "allow, entry 1"},
		{func(c *Config) { c.Allow = []string{"fe80::1%eth0"} }, "allow, entry 1"},
	} {
		config := testConfig("10.0.0.6:7628")
		if err := config.Validate(); err != nil {
			t.Fatalf("before the change: %v", err)
		}
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestEveryWayAConnectionEndsIsClassified(t *testing.T) {
	op := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
	}
	for _, c := range []struct {
		name    string
		end     ending
		heard   bool
		pending int
		state   schema.SessionState
		reason  string
		cause   string
	}{
		{"the server closes", ending{lqServer, io.EOF}, true, 0, schema.Reconnecting, "closed_by_server", "closed by the server"},
		{"inside a frame", ending{lqServer, io.EOF}, true, 9, schema.Reconnecting, "closed_in_frame", "9 bytes"},
		{"the server resets", ending{lqServer, op(syscall.ECONNRESET)}, true, 0, schema.Reconnecting, "reset", "reset by the server"},
		{"the server is gone", ending{lqServer, op(syscall.ETIMEDOUT)}, true, 0, schema.Expired, "peer_gone", "acknowledge"},
		{"the server breaks", ending{lqServer, errors.New("the moon")}, true, 0, schema.Reconnecting, "other", "the moon"},
		{"never heard", ending{lqServer, io.EOF}, false, 0, schema.Failed, "closed_by_server", "before anything was heard"},
		{"the desktop closes", ending{client, io.EOF}, true, 0, schema.Closed, "closed_by_desktop", "closed by the desktop"},
		{"the desktop resets", ending{client, op(syscall.EPIPE)}, true, 0, schema.Closed, "reset_by_desktop", "reset by the desktop"},
		{"the desktop is gone", ending{client, op(syscall.ETIMEDOUT)}, true, 0, schema.Closed, "desktop_gone", "acknowledge"},
		{"the desktop breaks", ending{client, errors.New("the moon")}, true, 0, schema.Closed, "other", "the moon"},
		{"the desktop gives up", ending{client, io.EOF}, false, 0, schema.Failed, "closed_by_desktop", "before anything was heard"},
		{"refused", ending{dial, op(syscall.ECONNREFUSED)}, false, 0, schema.Failed, "refused", "connection refused"},
		{"no route", ending{dial, op(syscall.EHOSTUNREACH)}, false, 0, schema.Failed, "unreachable", "no route"},
		{"no such name", ending{dial, &net.DNSError{Name: "lq", Err: "no such host"}}, false, 0, schema.Failed, "dns", "no such host"},
		{"no descriptors", ending{dial, op(syscall.EMFILE)}, false, 0, schema.Failed, "descriptors", "ulimit -n"},
		{"no answer", ending{dial, context.DeadlineExceeded}, false, 0, schema.Failed, "timeout", "deadline"},
		{"a dial that breaks", ending{dial, errors.New("the moon")}, false, 0, schema.Failed, "other", "the moon"},
		{"the connector stops", ending{connector, errStopping}, true, 0, schema.Closed, "closed", "closed by the connector"},
	} {
		got := classify(c.end, c.heard, c.pending)
		if got.state != c.state || got.reason != c.reason || !strings.Contains(got.cause, c.cause) {
			t.Errorf("%s: got %+v, want %s, %s, %q", c.name, got, c.state, c.reason, c.cause)
		}
	}
}

func TestWhoIsTurnedAwayIsLoggedOnceAMinute(t *testing.T) {
	var logs logBuffer
	r := newRefusals(slog.New(slog.NewTextHandler(&logs, nil)))
	address := netip.MustParseAddr("192.0.2.7")
	for i := range 120 { // one a second
		r.note(refusedByMax, address, at.Add(time.Duration(i)*time.Second))
	}
	r.note(refusedByAllow, address, at)
	text := logs.String()
	if strings.Count(text, refusedByMax) != 2 || strings.Count(text, refusedByAllow) != 1 || !strings.Contains(text, "others=59") {
		t.Errorf("got:\n%s", text)
	}
}

func TestADoorCountsEachAddress(t *testing.T) {
	d := door{max: 3, perAddress: 2, byAddress: map[netip.Addr]int{}}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	var got []string
	for _, address := range []netip.Addr{a, a, a, b, b} {
		got = append(got, d.enter(address))
	}
	want := []string{"", "", refusedByPerAddress, "", refusedByMax}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	d.leave(a)
	d.leave(a)
	d.leave(b)
	if d.count() != 0 || len(d.byAddress) != 0 {
		t.Errorf("%d inside, %v, want nobody", d.count(), d.byAddress)
	}
}
