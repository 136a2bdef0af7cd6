package web

import (
	"strings"
	"testing"

	"github.com/callpop/connector/internal/secret"
)

func TestConfigurationIsCheckedByKeyAndValue(t *testing.T) {
	if got := DefaultConfig(); got.Health != "127.0.0.1:8080" || got.Public != "" || got.Admin != "" || got.Validate() != nil {
		t.Errorf("the default is %+v, %v", got, got.Validate())
	}
	for _, good := range []string{"", ":8080", "0.0.0.0:0", "[::1]:65535", "localhost:80"} {
		if err := (Config{Health: good}).Validate(); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, good := range []Config{
		{Admin: "127.0.0.1:8090"}, {Admin: "[::1]:0", Pprof: true}, {Admin: "localhost:1"},
		{Admin: "0.0.0.0:8090", AdminToken: secret.New("sixteen-or-more-bytes"), AdminTLS: TLS{CertFile: "c", KeyFile: "k"}},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, c := range []struct {
		config Config
		want   []string
	}{
		{Config{Health: "8080"}, []string{`health: "8080": expected host:port`}},
		{Config{Health: "127.0.0.1"}, []string{`health: "127.0.0.1": expected host:port`}},
		{Config{Health: "127.0.0.1:http"}, []string{`health: "127.0.0.1:http": expected host:port`, `port "http" is not a number`}},
		{Config{Health: "127.0.0.1:65536"}, []string{`health: "127.0.0.1:65536": expected host:port`}},
		{Config{Public: "8443"}, []string{`public: "8443": expected host:port, such as 0.0.0.0:8443, or nothing`}},
		{Config{Public: ":1", PublicTLS: TLS{CertFile: "c"}}, []string{`public_tls: has one of cert_file and key_file: expected both, or neither`}},
		{Config{Admin: ":8091", Public: "x"}, []string{`public: "x"`, `admin: ":8091": expected a loopback address such as 127.0.0.1:8090, or admin_token beside it`}},
		{Config{Admin: "10.0.0.1:8091"}, []string{`admin: "10.0.0.1:8091": expected a loopback address`}},
		{Config{Admin: "8091"}, []string{`admin: "8091": expected host:port`}},
		{Config{Admin: "127.0.0.1:1", AdminToken: secret.New("short")}, []string{`admin_token: 5 bytes: expected 16 to 256`}},
		{Config{Admin: "127.0.0.1:1", AdminToken: secret.New("sixteen characters")}, []string{`admin_token: expected printable ASCII without spaces`}},
		{Config{Pprof: true}, []string{`pprof: true: expected false, or an address in http.admin`}},
		{Config{AdminTLS: TLS{KeyFile: "k"}}, []string{`admin_tls: has one of cert_file and key_file: expected both, or neither`}},
	} {
		err := c.config.Validate()
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: got %v, want %s", c.config, err, want)
			}
		}
	}
}
