//go:build linux

package faults

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// row is what a fault did.
type row struct {
	fault string
	// in are the events that the connector owned: those that its log held. out are
	// those that the sink has, each once.
	in, out int
	// gone are those that the connector itself reported as gone, by its limits or
	// by damage. lost is what is missing beyond that.
	gone, lost int
	// duplicated counts second copies, under the same id; reordered counts events
	// that came behind a later one of their key.
	duplicated, reordered int
	// recovery is the time from the fault's end until all was well again; 0 where
	// nothing had to recover.
	recovery time.Duration
	note     string
}

// table collects the rows of the tests.
type table struct {
	mu   sync.Mutex
	rows []row
}

var rows table

// add books a row, and fails the test where a promise is broken.
func (b *table) add(t testing.TB, r row) {
	t.Helper()
	b.mu.Lock()
	b.rows = append(b.rows, r)
	b.mu.Unlock()
	t.Log(r)
	if r.lost != 0 || r.reordered != 0 || r.in == 0 {
		t.Errorf("%s: of %d events %d are lost, %d reordered", r.fault, r.in, r.lost, r.reordered)
	}
}

func (r row) cells() []string {
	recovery := ""
	if r.recovery > 0 {
		recovery = fmt.Sprintf("%.1f", r.recovery.Seconds())
	}
	return []string{
		r.fault, fmt.Sprint(r.in), fmt.Sprint(r.out), fmt.Sprint(r.gone), fmt.Sprint(r.lost),
		fmt.Sprint(r.duplicated), fmt.Sprint(r.reordered), recovery, r.note,
	}
}

var heads = []string{"fault", "in", "out", "reported gone", "lost", "duplicated", "reordered", "s to recover", "seen"}

// String is the row as one line of text.
func (r row) String() string {
	var b strings.Builder
	for i, cell := range r.cells() {
		if cell != "" {
			fmt.Fprintf(&b, "%s: %s; ", heads[i], cell)
		}
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// print writes the rows as a Markdown table, by their faults' names.
func (b *table) print(w io.Writer, file string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.rows) == 0 {
		return nil
	}
	slices.SortStableFunc(b.rows, func(x, y row) int { return strings.Compare(x.fault, y.fault) })
	lines := [][]string{heads}
	for _, r := range b.rows {
		lines = append(lines, r.cells())
	}
	width := make([]int, len(heads))
	for _, cells := range lines {
		for i, cell := range cells {
			width[i] = max(width[i], len([]rune(cell)))
		}
	}
	var text strings.Builder
	for n, cells := range lines {
		for i, cell := range cells {
			if i == 0 || i == len(cells)-1 {
				fmt.Fprintf(&text, "| %-*s ", width[i], cell)
			} else {
				fmt.Fprintf(&text, "| %*s ", width[i], cell)
			}
		}
		text.WriteString("|\n")
		if n == 0 {
			for i := range cells {
				dashes := strings.Repeat("-", width[i]+1)
				if i == 0 || i == len(cells)-1 {
					text.WriteString("|" + dashes + "-")
				} else {
					text.WriteString("|" + dashes + ":")
				}
			}
			text.WriteString("|\n")
		}
	}
	if _, err := io.WriteString(w, "\n"+text.String()+"\n"); err != nil {
		return err
	}
	if file == "" {
		return nil
	}
	return os.WriteFile(file, []byte(text.String()), 0o600)
}
