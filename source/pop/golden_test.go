package pop

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Each testdata/*.pop is a pop string and each *.query a callback's query, byte
// for byte as they came; the .json beside it is the Pop, in the zone of the
// manual's examples, and stays as it is.
func TestGoldenFiles(t *testing.T) {
	inputs, err := filepath.Glob("testdata/*.[pq]*")
	if err != nil || len(inputs) < 12 {
		t.Fatalf("found %d inputs, %v", len(inputs), err)
	}
	formats := map[string]bool{}
	d := Decoder{Location: shanghai(t)}
	for _, input := range inputs {
		extension := filepath.Ext(input)
		golden := strings.TrimSuffix(input, extension) + ".json"
		t.Run(filepath.Base(input), func(t *testing.T) {
			raw, err := os.ReadFile(input)
			if err != nil {
				t.Fatal(err)
			}
			var p Pop
			if err := d.decode(string(raw), extension == ".query", &p); err != nil {
				t.Fatal(err)
			}
			formats[p.Format] = true
			got, err := json.MarshalIndent(p, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got %s\nwant %s", got, want)
			}
		})
	}
	for _, format := range []string{T1V1, T1V2, T1V3, T1V4, T1V5, Callback} {
		if !formats[format] {
			t.Errorf("no golden file has the format %s", format)
		}
	}
}
