package natssink_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/sink/natssink"
)

func TestConfigurationIsChecked(t *testing.T) {
	for _, c := range []struct {
		key    string // empty: valid
		change func(*natssink.Config)
	}{
		{"", func(*natssink.Config) {}},
		{"", func(c *natssink.Config) { c.URL = "nats://a:4222, tls://b:4223,c" }},
		{"", func(c *natssink.Config) { c.URL = "wss://a/x,ws://b" }},
		{"", func(c *natssink.Config) { c.URL = "nats://[::1]:4222" }},
		{"", func(c *natssink.Config) { c.Stream, c.SessionStream = "", "" }},
		{"", func(c *natssink.Config) { c.User, c.Password = "u", secret.New("p") }},
		{"", func(c *natssink.Config) { c.MaxAge = 0 }},
		{"url", func(c *natssink.Config) { c.URL = "" }},
		{"url", func(c *natssink.Config) { c.URL = " , " }},
		{"url", func(c *natssink.Config) { c.URL = "nats://joe:hunter2@a:4222" }},
		{"url", func(c *natssink.Config) { c.URL = "nats://hunter2@a:4222" }},
		{"url", func(c *natssink.Config) { c.URL = "nats://joe:hunter2@a:%zz" }},
		{"url", func(c *natssink.Config) { c.URL = "http://a:4222" }},
		{"url", func(c *natssink.Config) { c.URL = "nats://:4222" }},
		{"url", func(c *natssink.Config) { c.URL = "nats://a:70000" }},
		{"url", func(c *natssink.Config) { c.URL = "ws://a,nats://b" }},
		{"stream", func(c *natssink.Config) { c.Stream, c.SessionStream, c.DeadLetterStream = "", "", "" }},
		{"stream", func(c *natssink.Config) { c.Stream = "a.b" }},
		{"session_stream", func(c *natssink.Config) { c.SessionStream = "a b" }},
		{"dead_letter_stream", func(c *natssink.Config) { c.DeadLetterStream = strings.Repeat("a", 256) }},
		{"subject", func(c *natssink.Config) { c.Subject = "" }},
		{"subject", func(c *natssink.Config) { c.Subject = "callpop.>" }},
		{"subject", func(c *natssink.Config) { c.Subject = strings.Repeat("a", 257) }},
		{"session_subject", func(c *natssink.Config) { c.SessionSubject = "callpop.v1" }},
		{"session_subject", func(c *natssink.Config) { c.SessionSubject = "callpop.v1.x" }},
		{"dead_letter_subject", func(c *natssink.Config) { c.DeadLetterSubject = "a..b" }},
		{"inbox_prefix", func(c *natssink.Config) { c.InboxPrefix = "_INBOX." }},
		{"publish_timeout", func(c *natssink.Config) { c.PublishTimeout = 5 }},
		{"publish_timeout", func(c *natssink.Config) { c.PublishTimeout = time.Hour }},
		{"max_in_flight", func(c *natssink.Config) { c.MaxInFlight = 0 }},
		{"max_in_flight", func(c *natssink.Config) { c.MaxInFlight = 5000 }},
		{"max_age", func(c *natssink.Config) { c.MaxAge = -1 }},
		{"max_bytes", func(c *natssink.Config) { c.MaxBytes = -1 }},
		{"replicas", func(c *natssink.Config) { c.Replicas = 2 }},
		{"duplicates", func(c *natssink.Config) { c.Duplicates = 0 }},
		{"duplicates", func(c *natssink.Config) { c.MaxAge, c.Duplicates = time.Minute, time.Hour }},
		{"user", func(c *natssink.Config) { c.NkeyFile, c.CredentialsFile = "a", "b" }},
		{"user", func(c *natssink.Config) { c.Password = secret.New("p") }},
		{"password_file", func(c *natssink.Config) { c.User = "u" }},
		{"password_file", func(c *natssink.Config) { c.User, c.Password, c.PasswordFile = "u", secret.New("p"), "f" }},
		{"token_file", func(c *natssink.Config) { c.Token, c.TokenFile = secret.New("t"), "f" }},
		{"tls.cert_file", func(c *natssink.Config) { c.TLS.CertFile = "f" }},
		{"tls.server_name", func(c *natssink.Config) { c.TLS.ServerName = "a:1" }},
	} {
		config := natssink.DefaultConfig()
		config.URL = "nats://nats:4222"
		c.change(&config)
		err := config.Validate()
		switch {
		case c.key == "" && err != nil:
			t.Errorf("valid, but: %v", err)
		case c.key != "" && (err == nil || !strings.HasPrefix(err.Error(), c.key+": ") || strings.Contains(err.Error(), "\n")):
			t.Errorf("error %q, want one about %s alone", fmt.Sprint(err), c.key)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	b := startBroker(t)
	b.createStream(t, jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}})
	b.createStream(t, jetstream.StreamConfig{Name: "CALLPOP_SESSION", Subjects: []string{"callpop.session.v1.berlin.>"}})

	findings := openSink(t, b.config(dontCreate)).Check(t.Context())
	if len(findings) != 4 {
		t.Fatalf("findings %+v, want 4", findings)
	}
	for i, want := range []struct{ what, detail, problem string }{
		{"connection", server.VERSION, ""},
		{"stream CALLPOP", "callpop.v1.>, 0 messages", ""},
		{"stream CALLPOP_SESSION", "berlin", "does not take this subject"},
		{"stream CALLPOP_DLQ", "", "no stream of this name"},
	} {
		f := findings[i]
		if f.What != want.what || !strings.Contains(f.Detail, want.detail) {
			t.Errorf("finding %+v, want %+v", f, want)
		}
		if (want.problem == "") != (f.Err == nil) || f.Err != nil && !strings.Contains(f.Err.Error(), want.problem) {
			t.Errorf("%s: problem %v, want %q", f.What, f.Err, want.problem)
		}
	}
	if got := stored(t, jetStream(t, b), "CALLPOP"); len(got) != 0 {
		t.Errorf("Check left %d messages in the stream", len(got))
	}

	for _, f := range openSink(t, b.config(func(c *natssink.Config) { c.SessionStream = "" })).Check(t.Context()) {
		if f.Err != nil {
			t.Errorf("%s: %v, but the stream may be created", f.What, f.Err)
		}
	}
}

func jetStream(t *testing.T, b *broker) jetstream.JetStream {
	t.Helper()
	_, js := b.client(t)
	return js
}

func TestCheckSeesPermissions(t *testing.T) {
	account := server.NewAccount("CALLCENTRE")
	user := func(name string, publish ...string) *server.User {
		return &server.User{Username: name, Password: "pw", Account: account, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: publish},
		}}
	}
	b := startBroker(t, func(o *server.Options) {
		o.Accounts = []*server.Account{account}
		o.Users = []*server.User{user("admin", ">"), user("blind", "callpop.>"), user("mute", "$JS.API.>")}
	})
	if err := b.enableJetStream("CALLCENTRE"); err != nil {
		t.Fatal(err)
	}
	as := func(name string) func(*natssink.Config) {
		return func(c *natssink.Config) {
			c.User, c.Password, c.SessionStream, c.DeadLetterStream = name, secret.New("pw"), "", ""
		}
	}
	mustPublish(t, openSink(t, b.config(as("admin"))), pops(1, 1))
	findings := openSink(t, b.config(as("blind"))).Check(t.Context())
	if len(findings) != 2 || findings[1].Err != nil || !strings.Contains(findings[1].Detail, "may not be looked at") {
		t.Errorf("a user who may publish and not look: %+v", findings)
	}
	findings = openSink(t, b.config(as("mute"))).Check(t.Context())
	if len(findings) != 2 || findings[1].Err == nil || !strings.Contains(findings[1].Err.Error(), "no permission to publish") {
		t.Errorf("a user who may look and not publish: %+v", findings)
	}
}

func (b *broker) enableJetStream(account string) error {
	a, err := b.server.LookupAccount(account)
	if err != nil {
		return err
	}
	return a.EnableJetStream(nil, nil)
}
