package source

import (
	"fmt"
	"strings"
	"testing"
)

func TestAnAllowListHasNetworksAndAddresses(t *testing.T) {
	got, err := ParseAllow([]string{"10.1.0.0/16", "192.168.1.7", "::ffff:10.2.0.1", "fd00::/8"})
	if want := "[10.1.0.0/16 192.168.1.7/32 10.2.0.1/32 fd00::/8]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v; want %s", got, err, want)
	}
	for _, c := range []struct{ entry, want string }{
		{"10.1.2.3/16", `allow, entry 1 is "10.1.2.3/16": bits are set beyond the network: expected 10.1.0.0/16`},
		{"branch", `allow, entry 1 is "branch": expected a network`},
		{"::ffff:10.0.0.0/104", "expected a network"},
		{"fe80::1%eth0", "expected a network"},
		{"", "expected a network"},
	} {
		if _, err := ParseAllow([]string{c.entry}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.entry, err, c.want)
		}
	}
}
