package kafkasink

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/internal/secret"
)

func TestTheDefaultsNeedBrokersOnly(t *testing.T) {
	c := DefaultConfig()
	if err := c.Validate(); err == nil || err.Error() != "brokers: is empty: want at least one host:port" {
		t.Errorf("got %v", err)
	}
	c.Brokers = []string{"kafka:9092", "[::1]:9092"}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestEachBadValueIsNamedWithWhatIsExpected(t *testing.T) {
	hunter := secret.New("hunter2")
	for _, test := range []struct {
		change func(*Config)
		want   []string // what the message says
	}{
		{func(c *Config) { c.Brokers = []string{"kafka"} }, []string{"brokers[0]", `"kafka"`, "host:port"}},
		{func(c *Config) { c.Brokers = []string{":9092"} }, []string{"brokers[0]", "host:port"}},
		{func(c *Config) { c.Brokers = []string{"k:9092", "k:0"} }, []string{"brokers[1]", "1 to 65535"}},
		{func(c *Config) { c.Brokers = []string{"a,b:9092"} }, []string{"brokers[0]"}},
		{func(c *Config) { c.Topic = "a b" }, []string{"topic:", `"a b"`, "letters"}},
		{func(c *Config) { c.Topic = ".." }, []string{"topic:"}},
		{func(c *Config) { c.Topic = strings.Repeat("x", 250) }, []string{"topic:", "249"}},
		{func(c *Config) { c.SessionTopic = c.Topic }, []string{"session_topic", "topic of topic"}},
		{func(c *Config) { c.Topic, c.SessionTopic, c.DeadLetterTopic = "", "", "" }, []string{"topic", "at least one"}},
		{func(c *Config) { c.Acks = "0" }, []string{"acks", `"0"`, "all, 1"}},
		{func(c *Config) { c.Compression = "brotli" }, []string{"compression", `"brotli"`, "zstd"}},
		{func(c *Config) { c.Balancer = "random" }, []string{"balancer", `"random"`, "murmur2"}},
		{func(c *Config) { c.BatchBytes = 100 }, []string{"batch_bytes", "100", "1KiB to 32MiB"}},
		{func(c *Config) { c.BatchBytes = bytesize.GiB }, []string{"batch_bytes", "1GiB"}},
		{func(c *Config) { c.BatchRecords = 0 }, []string{"batch_records", "0", "1 to"}},
		{func(c *Config) { c.ClientID = "a\nb" }, []string{"client_id", `"a\nb"`}},
		{func(c *Config) { c.PublishTimeout = time.Millisecond }, []string{"publish_timeout", "1ms", "100ms to 5m"}},
		{func(c *Config) { c.CreateTopics.Partitions = 0 }, []string{"create_topics.partitions", "0", "-1"}},
		{func(c *Config) { c.CreateTopics.Replication = -2 }, []string{"create_topics.replication", "-2"}},
		{func(c *Config) { c.CreateTopics.Config = map[string]string{"": "x"} }, []string{"create_topics.config"}},
		{func(c *Config) { c.SASL.User = "u" }, []string{"sasl.mechanism", "is empty", "plain"}},
		{func(c *Config) { c.SASL.Mechanism = "gssapi" }, []string{"sasl.mechanism", `"gssapi"`, "oauthbearer"}},
		{func(c *Config) { c.SASL = SASL{Mechanism: "plain", Password: hunter} }, []string{"sasl.user"}},
		{func(c *Config) { c.SASL = SASL{Mechanism: "plain", User: "u"} }, []string{"sasl.password", "exactly one"}},
		{func(c *Config) {
			c.SASL = SASL{Mechanism: "scram-sha-256", User: "u", Password: hunter, PasswordFile: "f"}
		}, []string{"sasl.password_file", "exactly one"}},
		{func(c *Config) { c.SASL = SASL{Mechanism: "plain", User: "u", Password: hunter, TokenFile: "f"} }, []string{"sasl.token_file"}},
		{func(c *Config) { c.SASL = SASL{Mechanism: "oauthbearer"} }, []string{"sasl.token_file", "sasl.oauth", "exactly one"}},
		{func(c *Config) { c.SASL = SASL{Mechanism: "oauthbearer", TokenFile: "f", Password: hunter} }, []string{"sasl.password"}},
		{func(c *Config) {
			c.SASL = SASL{Mechanism: "oauthbearer", OAuth: OAuth{TokenURL: "https://u:hunter2@idp/token", ClientID: "c", ClientSecret: hunter}}
		}, []string{"sasl.oauth.token_url"}},
		{func(c *Config) {
			c.SASL = SASL{Mechanism: "oauthbearer", OAuth: OAuth{TokenURL: "ftp://idp/token", ClientID: "", ClientSecret: hunter}}
		}, []string{"sasl.oauth.token_url", "sasl.oauth.client_id"}},
		{func(c *Config) {
			c.SASL = SASL{Mechanism: "oauthbearer", OAuth: OAuth{TokenURL: "https://idp/token", ClientID: "c"}}
		}, []string{"sasl.oauth.client_secret", "exactly one"}},
		{func(c *Config) { c.TLS.CAFile = "ca.pem" }, []string{"tls.enabled", "want true"}},
		{func(c *Config) { c.TLS = TLS{Enabled: true, CertFile: "c.pem"} }, []string{"tls.cert_file", "both or neither"}},
	} {
		c := testConfig("kafka:9092")
		test.change(&c)
		err := c.Validate()
		if err == nil {
			t.Errorf("no error, want one about %v", test.want)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("got %q, want it to say %q", err, want)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a secret: %q", err)
		}
		if _, err := New(c, Options{}); err == nil {
			t.Errorf("New takes what Validate refuses: %v", test.want)
		}
	}
}

func TestEveryNameOfTheConfigurationCanBeUsed(t *testing.T) {
	for name := range compressions {
		c := testConfig("kafka:9092")
		c.Compression = name
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
	for name := range balancers {
		c := testConfig("kafka:9092")
		c.Balancer = name
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
}

func TestAMissingFileStopsTheStartAndIsNamed(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.pem")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tls := range []TLS{
		{Enabled: true, CAFile: missing},
		{Enabled: true, CAFile: empty},
		{Enabled: true, CertFile: missing, KeyFile: missing},
	} {
		c := testConfig("kafka:9092")
		c.TLS = tls
		if _, err := New(c, Options{}); err == nil || !strings.Contains(err.Error(), ".pem") {
			t.Errorf("%+v: got %v, want an error that names the file", tls, err)
		}
	}
}

func TestASecretIsReadFromItsFileEachTime(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	for _, test := range []struct{ content, want string }{
		{"first\n", "first"}, {"second\r\n", "second"}, {" third ", " third "}, {"", ""}, {"\n", ""},
		{strings.Repeat("x", 64<<10+1), ""},
	} {
		if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readSecret(secret.Value{}, file)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("content of %d bytes: got %.20q, %v; want %q", len(test.content), got, err, test.want)
		}
	}
}

func TestNothingPrintsASecretOfTheConfiguration(t *testing.T) {
	c := testConfig("kafka:9092")
	c.SASL = SASL{Mechanism: "plain", User: "u", Password: secret.New("hunter2"), OAuth: OAuth{ClientSecret: secret.New("hunter2")}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if printed := fmt.Sprintf(verb, c); strings.Contains(printed, "hunter2") {
			t.Errorf("%s prints %s", verb, printed)
		}
	}
}

func TestKeysAreSharedFairlyAndEqualKeysShareAPartition(t *testing.T) {
	all := make([]message, 4000)
	var e encoder
	for i := range all {
		r := record(i, fmt.Sprintf("hq/%d", i%1000))
		all[i] = e.encode(&r)
	}
	numbers := []int{0, 1, 2, 3, 4, 5, 6}
	for name, make := range balancers {
		queues := assign(all, make(), numbers, 10)
		if len(queues) != len(numbers) {
			t.Errorf("%s: %d partitions are used, want %d", name, len(queues), len(numbers))
		}
		place := map[string]int{}
		for _, q := range queues {
			if !slices.IsSorted(q.left) {
				t.Errorf("%s: partition %d is not in order", name, q.partition)
			}
			if n := len(q.left); n < 4000/7/2 || n > 4000/7*2 {
				t.Errorf("%s: partition %d has %d of 4000 records", name, q.partition, n)
			}
			for _, i := range q.left {
				key := string(all[i].key)
				if p, ok := place[key]; ok && p != q.partition {
					t.Errorf("%s: key %s is in partitions %d and %d", name, key, p, q.partition)
				}
				place[key] = q.partition
			}
		}
	}
}
