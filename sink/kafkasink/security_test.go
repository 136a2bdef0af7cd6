package kafkasink

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/sink"
)

// secured is what a listener of a real Kafka asks for, and what it refuses.
type secured struct {
	name      string
	addresses func(*kafkatest.Cluster) []string
	good      func(t *testing.T, cluster *kafkatest.Cluster, c *Config)
	// bad changes a good configuration; nil: no such case.
	bad map[string]func(t *testing.T, cluster *kafkatest.Cluster, c *Config)
}

func securedListeners() []secured {
	wrongPassword := map[string]func(*testing.T, *kafkatest.Cluster, *Config){
		"a wrong password": func(_ *testing.T, _ *kafkatest.Cluster, c *Config) { c.SASL.Password = secret.New("hunter2") },
		"another user":     func(_ *testing.T, _ *kafkatest.Cluster, c *Config) { c.SASL.User = "nobody" },
	}
	password := func(mechanism, password string) func(*testing.T, *kafkatest.Cluster, *Config) {
		return func(_ *testing.T, _ *kafkatest.Cluster, c *Config) {
			c.SASL = SASL{Mechanism: mechanism, User: kafkatest.User, Password: secret.New(password)}
		}
	}
	return []secured{
		{"plain", (*kafkatest.Cluster).SASL, password("plain", kafkatest.Password), wrongPassword},
		{"scram-sha-256", (*kafkatest.Cluster).SASL, password("scram-sha-256", kafkatest.ScramPassword), wrongPassword},
		{"scram-sha-512", (*kafkatest.Cluster).SASL, password("scram-sha-512", kafkatest.ScramPassword), wrongPassword},
		{"oauthbearer by token file", (*kafkatest.Cluster).SASL, tokenFile(time.Hour), map[string]func(*testing.T, *kafkatest.Cluster, *Config){
			"an expired token": tokenFile(-time.Hour),
			"a forged token": func(t *testing.T, cluster *kafkatest.Cluster, c *Config) {
				t.Helper()
				first, second := cluster.Token(t, time.Hour), cluster.Token(t, 2*time.Hour)
				forged := first[:strings.LastIndexByte(first, '.')] + second[strings.LastIndexByte(second, '.'):]
				c.SASL.TokenFile = filepath.Join(t.TempDir(), "token")
				if err := os.WriteFile(c.SASL.TokenFile, []byte(forged), 0o600); err != nil {
					t.Fatal(err)
				}
			},
		}},
		{"oauthbearer by client credentials", (*kafkatest.Cluster).SASL, tokenServer(http.StatusOK), map[string]func(*testing.T, *kafkatest.Cluster, *Config){
			"a token server that refuses": tokenServer(http.StatusUnauthorized),
		}},
		{"tls", (*kafkatest.Cluster).TLS, func(_ *testing.T, cluster *kafkatest.Cluster, c *Config) {
			c.TLS = TLS{Enabled: true, CAFile: cluster.Files().CA}
		}, map[string]func(*testing.T, *kafkatest.Cluster, *Config){
			"an unknown CA": func(_ *testing.T, _ *kafkatest.Cluster, c *Config) { c.TLS.CAFile = "" },
			"another name":  func(_ *testing.T, _ *kafkatest.Cluster, c *Config) { c.TLS.ServerName = "kafka.example" },
		}},
		{"mutual tls", (*kafkatest.Cluster).MTLS, func(_ *testing.T, cluster *kafkatest.Cluster, c *Config) {
			files := cluster.Files()
			c.TLS = TLS{Enabled: true, CAFile: files.CA, CertFile: files.ClientCert, KeyFile: files.ClientKey, ServerName: "localhost"}
		}, map[string]func(*testing.T, *kafkatest.Cluster, *Config){
			"no certificate": func(_ *testing.T, _ *kafkatest.Cluster, c *Config) { c.TLS.CertFile, c.TLS.KeyFile = "", "" },
		}},
	}
}

func tokenFile(lifetime time.Duration) func(*testing.T, *kafkatest.Cluster, *Config) {
	return func(t *testing.T, cluster *kafkatest.Cluster, c *Config) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(cluster.Token(t, lifetime)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.SASL = SASL{Mechanism: "oauthbearer", TokenFile: file}
	}
}

func tokenServer(status int) func(*testing.T, *kafkatest.Cluster, *Config) {
	return func(t *testing.T, cluster *kafkatest.Cluster, c *Config) {
		t.Helper()
		token := cluster.Token(t, time.Hour)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
		}))
		t.Cleanup(server.Close)
		c.SASL = SASL{Mechanism: "oauthbearer", OAuth: OAuth{TokenURL: server.URL, ClientID: "c", ClientSecret: secret.New("hunter2")}}
	}
}

func TestEventsReachEachSecuredListenerAndWaitWhereTheyMayNotEnter(t *testing.T) {
	cluster := shared.Local(t)
	for _, test := range securedListeners() {
		t.Run(test.name, func(t *testing.T) {
			c := realConfig(t, cluster, 2)
			plain := c
			c.Brokers = test.addresses(cluster)
			test.good(t, cluster, &c)
			s := open(t, c)
			all := records(10, 5)
			publishRest(t, s, all)
			if n := len(stored(t, plain, c.Topic)); n < len(all) {
				t.Errorf("%d records are stored, want %d", n, len(all))
			}
			for _, f := range s.Check(t.Context()) {
				if f.Err != nil {
					t.Errorf("Check: %s: %v", f.What, f.Err)
				}
			}
			for name, spoil := range test.bad {
				t.Run(name, func(t *testing.T) {
					bad := c
					spoil(t, cluster, &bad)
					checkNoEntry(t, bad, all)
				})
			}
		})
	}
}

// checkNoEntry checks that a configuration that the brokers refuse fails for now
// only, says that it is the login, and shows no secret.
func checkNoEntry(t *testing.T, c Config, all []sink.Record) {
	t.Helper()
	s := open(t, c)
	err := s.Publish(t.Context(), all)
	if got := errorOf(t, err); got.Reason != Authentication {
		t.Errorf("got %s (%v), want %s", got.Reason, err, Authentication)
	}
	if sink.IsPermanent(err) {
		t.Errorf("%v is for good, want it to wait", err)
	}
	findings := s.Check(t.Context())
	if len(findings) != 1 || findings[0].Err == nil || !strings.Contains(findings[0].Err.Error(), explanations[Authentication]) {
		t.Errorf("Check: got %+v", findings)
	}
	for _, text := range []string{err.Error(), fmt.Sprint(findings)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the password shows in %q", text)
		}
	}
}

func TestAConnectionClosedWithoutAWordIsExplained(t *testing.T) {
	cluster := shared.Local(t)
	c := realConfig(t, cluster, 1)
	encrypted := c
	encrypted.TLS = TLS{Enabled: true, CAFile: cluster.Files().CA}
	for name, c := range map[string]Config{
		"TLS wanted":     at(c, cluster.TLS()),
		"login wanted":   at(c, cluster.SASL()),
		"TLS not wanted": at(encrypted, cluster.Addresses()),
	} {
		err := open(t, c).Publish(t.Context(), records(1, 1))
		if got := errorOf(t, err); got.Reason != Unreachable || !strings.Contains(err.Error(), "only one of the two uses TLS") {
			t.Errorf("%s: got %s: %v", name, got.Reason, err)
		}
	}
}

func at(c Config, brokers []string) Config {
	c.Brokers = brokers
	return c
}

func TestForbiddenEventsWaitUntilTheyAreAllowed(t *testing.T) {
	cluster := shared.Local(t)
	c := realConfig(t, cluster, 2)
	plain := c
	c.Brokers = cluster.SASL()
	c.SASL = SASL{Mechanism: "scram-sha-512", User: kafkatest.User, Password: secret.New(kafkatest.ScramPassword)}
	s := open(t, c)
	all := records(10, 5)
	cluster.DenyWrites(t, c.Topic)
	// The brokers learn of a denial a moment after it was made.
	sent := 0
	for deadline := time.Now().Add(time.Minute); ; {
		err := s.Publish(t.Context(), all)
		if err == nil {
			sent += len(all)
		} else if got := errorOf(t, err); got.Reason == Authorization {
			if sink.IsPermanent(err) {
				t.Errorf("%v is for good, want it to wait", err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the denial has no effect, the last call gave %v", err)
		}
	}
	cluster.AllowWrites(t, c.Topic)
	publishRest(t, s, all)
	if n := len(stored(t, plain, c.Topic)); n < len(all)+sent {
		t.Errorf("%d records are stored, want %d", n, len(all)+sent)
	}
}

func TestEventsArriveThoughTheBrokerEndsSessionsAndTheTokenChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a real Kafka to end sessions")
	}
	cluster := kafkatest.Start(t, kafkatest.Options{Properties: map[string]string{"connections.max.reauth.ms": "1000"}})
	c := realConfig(t, cluster, 1)
	plain := c
	c.Brokers = cluster.SASL()
	tokenFile(time.Hour)(t, cluster, &c)
	s := open(t, c)
	n, broken := 0, 0
	for deadline := time.Now().Add(time.Minute); broken < 2; n++ {
		if time.Now().After(deadline) {
			t.Fatalf("the broker ended %d sessions, want 2", broken)
		}
		if publishRest(t, s, []sink.Record{record(n, "hq/1")}) > 1 {
			broken++
			tokenFile(time.Hour)(t, cluster, &c)
		}
		time.Sleep(20 * time.Millisecond) // a session ends by the broker's clock
	}
	all := stored(t, plain, c.Topic)
	if len(all) < n {
		t.Errorf("%d records are stored, want %d", len(all), n)
	}
}

func TestALoginThatTheBrokerCutsOffIsCalledALogin(t *testing.T) {
	fake := newFake(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "u", "right"))
	c := testConfig(fake.ListenAddrs()...)
	c.SASL = SASL{Mechanism: "plain", User: "u", Password: secret.New("hunter2")}
	checkNoEntry(t, c, records(1, 1))
	c.SASL.Password = secret.New("right")
	if err := open(t, c).Publish(t.Context(), records(1, 1)); err != nil {
		t.Error(err)
	}
}
