package spool

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/secret"
)

func TestTheDefaultConfigurationIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (Embedded{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestAWrongConfigurationNamesKeyValueAndWhatWasExpected(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   []string
	}{
		{func(c *Config) { c.Dir = " " }, []string{"dir: ", `" "`, "directory"}},
		{func(c *Config) { c.Sync = 5 }, []string{"sync: 5ns", "always", "1ms"}},
		{func(c *Config) { c.Sync = 0 }, []string{"sync: 0s"}},
		{func(c *Config) { c.Sync = Sync(time.Hour) }, []string{"sync: 1h0m0s"}},
		{func(c *Config) { c.MaxAge = 0 }, []string{"max_age: 0s", "72h"}},
		{func(c *Config) { c.MaxAge = -time.Hour }, []string{"max_age: -1h0m0s"}},
		{func(c *Config) { c.MaxBytes = 1000 }, []string{"max_bytes: 1000", "4GiB"}},
		{func(c *Config) { c.MinFree = -1 }, []string{"min_free: -1"}},
	} {
		config := DefaultConfig()
		c.change(&config)
		err := config.Validate()
		if err == nil {
			t.Errorf("%+v was accepted", config)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error = %q, want %q in it", err, want)
			}
		}
	}
	config := DefaultConfig()
	config.MaxAge, config.MaxBytes = 0, 0
	o := Options{Config: config, Embedded: Embedded{Listen: "0.0.0.0:4222"}}
	_, err := Open(testContext(t), o)
	if err == nil {
		t.Fatal("opened with a wrong configuration")
	}
	for _, want := range []string{"spool.max_age", "spool.max_bytes", "embedded.listen"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error = %q, want %q in it", err, want)
		}
	}
}

func TestSyncIsAlwaysOrADurationWithItsUnit(t *testing.T) {
	for text, want := range map[string]Sync{"always": SyncAlways, "100ms": Sync(100 * time.Millisecond), "1s": Sync(time.Second)} {
		var got Sync
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q = %v, %v; want %v", text, got, err, want)
		}
		if got.String() != text {
			t.Errorf("%q is written %q", text, got)
		}
		if b, err := json.Marshal(got); err != nil || string(b) != `"`+text+`"` {
			t.Errorf("%q is written %s, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "100", "0", "-1s", "0s", "Always", "never", "1 s"} {
		var got Sync
		err := got.UnmarshalText([]byte(text))
		if err == nil {
			t.Errorf("%q was accepted as %v", text, got)
		} else if !strings.Contains(err.Error(), "100ms") {
			t.Errorf("%q: error = %q", text, err)
		}
	}
}

func TestListeningBeyondLoopbackNeedsCredentials(t *testing.T) {
	password := secret.New("hunter2")
	certificate := TLS{CertFile: "a", KeyFile: "b"}
	both := certificate
	both.ClientCAFile = "c"
	for _, c := range []struct {
		e    Embedded
		want string // in the error; "" for none
	}{
		{Embedded{Listen: "127.0.0.1:4222"}, ""},
		{Embedded{Listen: "[::1]:4222"}, ""},
		{Embedded{Listen: "localhost:0"}, ""},
		{Embedded{Listen: "0.0.0.0:4222"}, "credentials"},
		{Embedded{Listen: ":4222"}, "credentials"},
		{Embedded{Listen: "10.0.0.5:4222"}, "credentials"},
		{Embedded{Listen: "broker.example:4222"}, "credentials"},
		{Embedded{Listen: "0.0.0.0:4222", TLS: certificate}, "credentials"},
		{Embedded{Listen: "0.0.0.0:4222", TLS: both}, ""},
		{Embedded{Listen: "0.0.0.0:4222", User: "crm", Password: password}, ""},
		{Embedded{Listen: "0.0.0.0:4222", User: "crm"}, "user, password"},
		{Embedded{Password: password}, "user, password"},
		{Embedded{Listen: "127.0.0.1"}, "host:port"},
		{Embedded{Listen: "127.0.0.1:nats"}, "0 to 65535"},
		{Embedded{Listen: "127.0.0.1:65536"}, "0 to 65535"},
		{Embedded{Listen: "127.0.0.1:-1"}, "0 to 65535"},
		{Embedded{TLS: TLS{CertFile: "a"}}, "tls.key_file"},
		{Embedded{TLS: TLS{ClientCAFile: "c"}}, "tls.cert_file"},
	} {
		err := c.e.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%+v: %v", c.e, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%+v: error = %v, want %q in it", c.e, err, c.want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the password is in %q", err)
		}
	}
}

func TestSyncAlwaysStoresAndReads(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Config.Sync = SyncAlways
	s := openSpool(t, o)
	want := emitN(t, s, 20)
	if got := take(t, read(t, s, "callpop.v1", 0), len(want)); len(got) != len(want) {
		t.Errorf("%d events, want %d", len(got), len(want))
	}
}
