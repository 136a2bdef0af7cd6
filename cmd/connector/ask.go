package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// confirm asks whether to go on; yes is the answer given beforehand.
func confirm(ctx context.Context, w *world, yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(w.stdin) {
		return usageError{fmt.Errorf("%s is not confirmed: expected --yes, or a terminal to ask on", question)}
	}
	w.tell("%s? [y/N] ", question)
	answered := make(chan string, 1)
	// A read of a terminal cannot be called off; it ends with the process.
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(w.stdin, 100)).ReadString('\n')
		answered <- line
	}()
	select {
	case line := <-answered:
		if answer := strings.ToLower(strings.TrimSpace(line)); answer == "y" || answer == "yes" {
			return nil
		}
	case <-ctx.Done():
		w.tell("\n")
	}
	w.tell("nothing was done\n")
	return errReported
}

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct {
	out  io.Writer // nil for no bar
	what string
	bar  *progressbar.ProgressBar // nil until it is known how much there is to do
}

func newProgress(w *world, what string) *progress {
	if !isTerminal(w.stderr) {
		return &progress{}
	}
	return &progress{out: w.stderr, what: what}
}

// set shows that done of total is done.
func (p *progress) set(done, total uint64) {
	if p.out == nil || total == 0 {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(int64(min(total, math.MaxInt64)),
			progressbar.OptionSetWriter(p.out), progressbar.OptionSetDescription(p.what),
			progressbar.OptionShowCount(), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(false))
	}
	_ = p.bar.Set64(int64(min(done, total, math.MaxInt64))) // a terminal that is gone is no reason to stop
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// plural counts things.
func plural[N int | uint64](n N, one string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", one)
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// stamp is a time for people, in their zone.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}

// orDash is s, or a dash for nothing.
func orDash(s string) string { return cmp.Or(printable(s), "-") }
