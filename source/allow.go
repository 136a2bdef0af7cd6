package source

import (
	"fmt"
	"net/netip"
)

// ParseAllow reads the allow key of a source that listens: networks such as
// 10.1.0.0/16 and single addresses. IPv4 comes out as such; compare with a
// client's address after netip.Addr.Unmap. The error names the entry.
func ParseAllow(entries []string) ([]netip.Prefix, error) {
	prefixes := make([]netip.Prefix, 0, len(entries))
	for i, text := range entries {
		prefix, err := netip.ParsePrefix(text)
		if address, notAddress := netip.ParseAddr(text); notAddress == nil && address.Zone() == "" {
			prefix, err = netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()), nil
		}
		if err != nil || prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("allow, entry %d is %q: expected a network such as 10.1.0.0/16, or an address", i+1, text)
		}
		if prefix != prefix.Masked() {
			return nil, fmt.Errorf("allow, entry %d is %q: bits are set beyond the network: expected %v, or an address alone", i+1, text, prefix.Masked())
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}
