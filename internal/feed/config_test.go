package feed

import (
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/secret"
)

func TestTheConfigurationIsCheckedByKeyAndValue(t *testing.T) {
	if c := DefaultConfig(); c.Validate() != nil || c.IsOpen() {
		t.Errorf("the default is open: %v, %v", c.IsOpen(), c.Validate())
	}
	if c := testConfig(); c.Validate() != nil || !c.IsOpen() {
		t.Errorf("%v", c.Validate())
	}
	for _, c := range []struct {
		change func(*Config)
		want   string // "" is good
	}{
		{func(c *Config) { c.Token = secret.New("short") }, "token: 5 bytes: expected 16 to 256"},
		{func(c *Config) { c.Token = secret.New("sixteen characters") }, "token: expected printable ASCII without spaces"},
		{func(c *Config) { c.SigningKey = secret.New("short") }, "signing_key: 5 bytes: expected 32 to 1024"},
		{func(c *Config) { c.MaxAge = 0 }, "max_age is 0s: expected 1s to 24h0m0s"},
		{func(c *Config) { c.MaxSince = time.Hour * 10000 }, "max_since is 10000h0m0s"},
		{func(c *Config) { c.Heartbeat = time.Hour }, "heartbeat is 1h0m0s"},
		{func(c *Config) { c.MaxConnections = 0 }, "max_connections is 0: expected 1 to 1000000"},
		{func(c *Config) { c.MaxPerAgent = 0 }, "max_per_agent is 0: expected 1 to 1000"},
		{func(c *Config) {
			c.AllowOrigins = []string{"https://crm.example", "http://10.0.0.7:8080", "http://[::1]:1"}
		}, ""},
		{func(c *Config) { c.AllowOrigins = []string{"*"} }, `allow_origins: "*": expected an origin`},
		{func(c *Config) { c.AllowOrigins = []string{"crm.example"} }, `allow_origins: "crm.example"`},
		{func(c *Config) { c.AllowOrigins = []string{"https://CRM.example"} }, `allow_origins: "https://CRM.example"`},
		{func(c *Config) { c.AllowOrigins = []string{"https://crm.example:443"} }, "without the port that is the default"},
		{func(c *Config) { c.AllowOrigins = []string{"https://*.example"} }, "expected an origin"},
		{func(c *Config) { c.AllowOrigins = []string{"https://a;b"} }, "expected an origin"},
		{func(c *Config) { c.AllowOrigins = make([]string, 101) }, "allow_origins: 101 entries: expected at most 100"},
		{func(c *Config) { c.Page.In = "tab" }, `page.in is "tab": expected window or frame`},
		{func(c *Config) { c.Page.Open = "https://crm.example" }, ""},
		{func(c *Config) { c.Page.Open = "http://crm:8080/c?p={customer.number}&n={ivr.fields.姓名}#{id}" }, ""},
		{func(c *Config) { c.Page.Open = "https://{customer.number}.example/" }, "expected an address"},
		{func(c *Config) { c.Page.Open = "https://crm.example{customer.number}" }, "no field in the host"},
		{func(c *Config) { c.Page.Open = "javascript:alert({id})" }, "expected an address"},
		{func(c *Config) { c.Page.Open = "https://u:p@crm.example/" }, "expected an address"},
		{func(c *Config) { c.Page.Open = "https://crm.example/{phone}" }, "{phone}: expected a field of the event in braces, one of id,"},
		{func(c *Config) { c.Page.Open = "https://crm.example/{id" }, "expected a field of the event in braces"},
		{func(c *Config) { c.Page.Open = "https://crm.example/" + strings.Repeat("a", 3000) }, "expected at most 2048"},
		{func(c *Config) { c.Page.Features = strings.Repeat("a", 3000) }, "page.features: 3000 bytes"},
	} {
		config := testConfig()
		c.change(&config)
		err := config.Validate()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "short") {
			t.Errorf("the message shows a secret: %v", err)
		}
	}
	if _, err := New(t.Context(), Options{Config: Config{}}); err == nil || !strings.Contains(err.Error(), "max_age") {
		t.Errorf("New took it: %v", err)
	}
}
