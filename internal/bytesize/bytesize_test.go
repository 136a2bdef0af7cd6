package bytesize

import "testing"

func TestSizesAreReadAndWritten(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Size
		out  string
	}{
		{"4GiB", 4 * GiB, "4GiB"}, {"256 MiB", 256 * MiB, "256MiB"}, {"1500", 1500, "1500"},
		{"64kB", 64000, "64000"}, {"0", 0, "0"}, {"1KiB", KiB, "1KiB"},
	} {
		var got Size
		if err := got.UnmarshalText([]byte(c.in)); err != nil || got != c.want {
			t.Errorf("%q: got %d, %v; want %d", c.in, got, err, c.want)
		}
		if got.String() != c.out {
			t.Errorf("%q: written as %q, want %q", c.in, got, c.out)
		}
	}
	for _, bad := range []string{"", "-1", "many", "5 parsecs", "99999999999999999999", "16EiB"} {
		var got Size
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q: accepted as %d", bad, got)
		}
	}
}
