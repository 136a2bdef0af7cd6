package callback

import (
	"strings"
	"testing"

	"github.com/callpop/connector/internal/secret"
)

func TestAConfigurationSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Name = "" }, `name is ""`},
		{func(c *Config) { c.Server = "a/b" }, `server is "a/b"`},
		{func(c *Config) { c.Listen = "" }, `listen is "": expected the host and port`},
		{func(c *Config) { c.Listen = "8081" }, `listen is "8081"`},
		{func(c *Config) { c.Path = "pop" }, `path is "pop"`},
		{func(c *Config) { c.Path = "/pop?" }, `path is "/pop?"`},
		{func(c *Config) { c.Path = "/a/../b" }, `path is "/a/../b"`},
		{func(c *Config) { c.Path = "/" + strings.Repeat("x", maxPath) }, "expected a path"},
		{func(c *Config) { c.Redirect = "https://{{.Agent.ID}}/" }, `redirect is "https://{{.Agent.ID}}/": {{.Agent.ID}} stands in`},
		{func(c *Config) { c.Charset = "latin1" }, `charset is "latin1"`},
		{func(c *Config) { c.Timezone = "Mars/Base" }, `timezone is "Mars/Base"`},
		{func(c *Config) { c.AreaCode = "x" }, `area_code is "x"`},
		{func(c *Config) { c.Secret = secret.New("short") }, "secret has 5 bytes: expected 16 to 256"},
		{func(c *Config) { c.SecretParameter = "phone" }, `secret_parameter is "phone"`},
		{func(c *Config) { c.SecretParameter = "a&b" }, `secret_parameter is "a&b"`},
		{func(c *Config) { c.Allow = []string{"10.0.0.0/8", "desk"} }, `allow, entry 2 is "desk"`},
		{func(c *Config) { c.Allow = []string{"10.0.0.1/8"} }, "expected 10.0.0.0/8"},
		{func(c *Config) { c.TLS.CertFile = "c.pem" }, "tls has one of cert_file and key_file"},
	} {
		config := testConfig(nil)
		if err := config.Validate(); err != nil {
			t.Fatalf("before the change: %v", err)
		}
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestTwoSourcesOnOneAddressNeedPathsOfTheirOwn(t *testing.T) {
	first := testConfig(func(c *Config) { c.Listen = "0.0.0.0:8081" })
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(*Config) {}, `path is "/pop", which source pages has on 0.0.0.0:8081`},
		{func(c *Config) { c.Path = "/other" }, ""},
		{func(c *Config) { c.Path, c.TLS = "/other", TLS{"c", "k"} }, "tls differs from that of source pages"},
		{func(c *Config) { c.Listen = "0.0.0.0:8082" }, ""},
		{func(c *Config) { c.Listen = "[::ffff:0.0.0.0]:8081" }, `path is "/pop"`},
	} {
		second := first
		second.Name = "second"
		c.change(&second)
		err := second.Conflict(&first)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %v, want %q", second.Listen, second.Path, err, c.want)
		}
	}
	anyPort := testConfig(nil)
	if err := anyPort.Conflict(&anyPort); err != nil {
		t.Errorf("port 0 is another one each time: %v", err)
	}
}
