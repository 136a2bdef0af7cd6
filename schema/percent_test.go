package schema

import (
	"strings"
	"testing"
)

func TestEveryByteAtEveryPlaceIsEncodedAsItIsAlone(t *testing.T) {
	for _, filler := range []string{"!", "~", "$", "#", "&"} { // the bounds, and what is next to those that are encoded
		for length := 1; length < 20; length++ {
			for at := range length {
				for c := range 256 {
					before, after := strings.Repeat(filler, at), strings.Repeat(filler, length-at-1)
					want := before + percentEncode(string([]byte{byte(c)})) + after
					if got := percentEncode(before + string([]byte{byte(c)}) + after); got != want {
						t.Fatalf("byte %#x at %d of %d: got %q, want %q", c, at, length, got, want)
					}
				}
			}
		}
	}
}
