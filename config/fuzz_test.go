package config

import (
	"errors"
	"strings"
	"testing"
)

// FuzzLoad loads any bytes. Whatever they are: no panic, and either a configuration
// that is valid and prints as one that loads again, or mistakes of one line each,
// no more than are listed.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		minimal, designed, string(Sample()), bomb("[%s]"), bomb("{<<: [%s]}"), another("hq", "b"), "spool: &a {<<: *a}\n", "- - -", "? a\n: b",
		with("spool: {dir: '${DIR}$${A}', sync: ${DIR}}\n"), with("embedded: {user: u, password: x}\n"), with("    agents: [1, 010, {id: 5}]\n"),
		with("sinks:\n  - &s {name: n, type: nats, url: 'nats://h'}\n  - {<<: [*s, {start: all}], name: m}\n"),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), fileSuffix) {
			return // what is in this machine's files is not the input's
		}
		environ := []string{"DIR=/data", "A=${DIR}"}
		c, err := load(Input{File: "connector.yaml", Environ: environ}, text)
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 || len(errs) > maxKept {
				t.Fatalf("the error is a %T: %v", err, err)
			}
			lines := strings.Split(err.Error(), "\n")
			if want := min(len(errs), maxErrors+1); len(lines) != want {
				t.Fatalf("%d mistakes on %d lines:\n%v", len(errs), len(lines), err)
			}
			for _, line := range lines[:min(len(errs), maxErrors)] {
				if !strings.HasPrefix(line, "connector.yaml:") {
					t.Fatalf("a line without a place: %q", line)
				}
				for _, r := range line {
					if r < ' ' || r == 0x7f {
						t.Fatalf("a control character in %q", line)
					}
				}
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("loaded, and yet: %v", err)
		}
		printed := c.String()
		if strings.Contains(printed, redacted) {
			return
		}
		again, err := loadText(printed)
		if err != nil {
			t.Fatalf("%v\nin\n%s", err, printed)
		}
		if got := again.String(); got != printed {
			t.Fatalf("got\n%s\nwant\n%s", got, printed)
		}
	})
}
