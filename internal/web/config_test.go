package web

import (
	"strings"
	"testing"
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
	for _, c := range []struct {
		config Config
		want   []string
	}{
		{Config{Health: "8080"}, []string{`health: "8080": expected host:port`}},
		{Config{Health: "127.0.0.1"}, []string{`health: "127.0.0.1": expected host:port`}},
		{Config{Health: "127.0.0.1:http"}, []string{`health: "127.0.0.1:http": expected host:port`, `port "http" is not a number`}},
		{Config{Health: "127.0.0.1:65536"}, []string{`health: "127.0.0.1:65536": expected host:port`}},
		{Config{Public: ":8090"}, []string{`public: ":8090": expected nothing: this version does not serve the agent feed`}},
		{Config{Admin: ":8091", Public: "x"}, []string{`public: "x"`, `admin: ":8091": expected nothing: this version does not serve the console`}},
	} {
		err := c.config.Validate()
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: got %v, want %s", c.config, err, want)
			}
		}
	}
}
