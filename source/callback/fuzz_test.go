package callback

import (
	"bytes"
	"testing"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/pop"
)

// Whatever the query: no piece of the secret's name stays, every other piece does,
// and the address leads to the CRM's host and into its path.
func FuzzQuery(f *testing.F) {
	for _, seed := range append(attacks(), manualsExample, "secret=x&phone=1", "%73ecret=1&a&&=&b=", "secret", "phone=1&+secret=a") {
		f.Add([]byte(seed))
	}
	redirect, err := ParseRedirect("https://crm.example/c/{{.Agent.ID}}?phone={{.Customer.Number}}&s={{.Extra.secret}}#{{.IVR.Keys}}")
	if err != nil {
		f.Fatal(err)
	}
	numbers, err := source.NewNumbers("025")
	if err != nil {
		f.Fatal(err)
	}
	origin := &source.Origin{Decoding: &source.Decoding{Numbers: numbers}}
	f.Fuzz(func(t *testing.T, query []byte) {
		before := bytes.Clone(query)
		rest, values := strip(query, "secret")
		if !bytes.Equal(query, before) {
			t.Fatal("the query was changed")
		}
		if again, more := strip(rest, "secret"); len(more) > 0 || !bytes.Equal(again, rest) {
			t.Errorf("%q: a second time takes out %q", query, more)
		}
		pieces := func(q []byte) (n int) {
			for piece := range bytes.SplitSeq(q, []byte("&")) {
				if len(piece) > 0 {
					n++
				}
			}
			return n
		}
		if got, want := pieces(rest)+len(values), pieces(query); got != want {
			t.Errorf("%q: %d pieces of %d", query, got, want)
		}
		var decoder pop.Decoder
		var p pop.Pop
		if decoder.DecodeCallback(rest, &p) != nil {
			p = pop.Pop{}
		}
		for _, e := range p.Extra {
			if e.Name == "secret" {
				t.Errorf("%q: the secret %q is in extra", query, e.Value)
			}
		}
		got := redirect.Append(nil, &p, origin)
		if !bytes.HasPrefix(got, []byte("https://crm.example/c/")) || bytes.ContainsAny(got, "\r\n\\ ") || bytes.Contains(got, []byte("..")) && !bytes.Contains(before, []byte(".")) {
			t.Errorf("%q leads to %q", query, got)
		}
	})
}
