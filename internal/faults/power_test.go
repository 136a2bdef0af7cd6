//go:build linux

package faults

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/callpop/connector/source/lqsim"
)

// With sync: always, an event is on the disk before its emit returns. The system
// calls of a process that emits, and writes down each id once Emit has returned,
// show it: the id is written to a file of the spool, that file is synced by a call
// that began afterwards and has returned, and only then is the id written down.
func TestFaultPower(t *testing.T) {
	notInShort(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		missing(t, "tracing system calls needs strace (apt-get install strace)", err)
	}
	t.Run("100ms", func(t *testing.T) {
		// The proof has to be able to fail: with an interval, emit does not wait.
		ids, good, _, bad := tracedEmits(t, strace, filepath.Join(t.TempDir(), "spool"), "100ms", 1, 100, 0)
		if len(bad) == 0 || good+len(bad) != len(ids) {
			t.Errorf("of %d events %d were on disk and %d were not: expected some that were not", len(ids), good, len(bad))
		}
	})
	for _, c := range []struct {
		name                string
		callers, count, pad int
		disk                []string
	}{
		{"one caller", 1, 100, 0, nil},
		{"16 callers", 16, scale(0, 800, 32_000), 0, nil},
		// Each sync takes 5 ms longer, and the log begins a new file now and then.
		{"64 callers, a slow disk", 64, scale(0, 6400, 64_000), 8000, []string{"-e", "inject=fsync,fdatasync:delay_exit=5000"}},
	} {
		t.Run("always, "+c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			ids, good, syncs, bad := tracedEmits(t, strace, dir, "always", c.callers, c.count, c.pad, c.disk...)
			if len(bad) > 0 {
				t.Errorf("%d of %d emits returned before the event was on the disk: %v", len(bad), len(ids), bad[:min(len(bad), 5)])
			}
			lq := startLQ(t, lqsim.Options{})
			s := newSetup(t, lq.Addr().String(), agentNumbers(1))
			s.spoolDir = dir
			p := s.startReady()
			held := whole(t, s.embedded(), "CALLPOP")
			r := delivered(t, "sync: always, traced, "+c.name, held, held, 0)
			r.lost = len(ids) - good + max(0, len(ids)-r.in)
			r.note = fmt.Sprintf("%d of %d on disk before emit returned, by %d syncs", good, len(ids), syncs)
			rows.add(t, r)
			p.expectExit(p.stop(), 0)
		})
	}
}

// tracedEmits has a process emit into a spool under strace. It returns the ids
// whose emit returned, how many of them were on the disk by then, the number of
// syncs, and those ids that were not. disk are strace's own options, which make
// the disk slow.
func tracedEmits(t *testing.T, strace, dir, sync string, callers, count, pad int, disk ...string) (ids []string, good, syncs int, bad []string) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := emitter(dir, sync, callers, count, pad)
	cmd.Path = strace
	cmd.Args = append([]string{strace, "-f", "-y", "-s", "65536", "-o", trace, "-e", "trace=write,writev,pwrite64,pwritev,fsync,fdatasync"}, disk...)
	cmd.Args = append(cmd.Args, "--", os.Args[0])
	out, err := cmd.Output()
	if err != nil {
		missing(t, "tracing a child (ptrace) is not permitted, or the child failed", err)
	}
	if ids = strings.Fields(string(out)); len(ids) != count {
		t.Fatalf("%d of %d emits returned", len(ids), count)
	}
	good, syncs, bad = readTrace(t, trace, dir)
	return ids, good, syncs, bad
}

// The forms of a traced call: whole, begun, and ended.
var (
	callLine    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)\) += (-?\d+)`)
	begunLine   = regexp.MustCompile(`^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$`)
	resumedLine = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)`)
	pathOfFD    = regexp.MustCompile(`^\d+<([^>]*)>`)
	eventID     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)
)

// tracer follows which ids are where.
type tracer struct {
	dir string
	// written has, by file, the ids that were written to it and not synced yet;
	// syncing those that a sync under way covers, by thread.
	written map[string]map[string]bool
	syncing map[string]map[string]bool
	onDisk  map[string]bool
	begun   map[string]string // a thread's call without its result
	syncs   int
	good    int
	bad     []string
}

// readTrace returns how many ids were on the disk when they were written down, by
// how many syncs, and which were not.
func readTrace(t *testing.T, file, dir string) (good, syncs int, bad []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	tr := &tracer{
		dir: dir, written: map[string]map[string]bool{}, syncing: map[string]map[string]bool{},
		onDisk: map[string]bool{}, begun: map[string]string{},
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := lines.Text()
		if m := callLine.FindStringSubmatch(line); m != nil {
			tr.begin(m[1], m[2], m[3])
			tr.end(m[1], m[2], m[3], m[4])
		} else if m := begunLine.FindStringSubmatch(line); m != nil {
			tr.begun[m[1]] = m[3]
			tr.begin(m[1], m[2], m[3])
		} else if m := resumedLine.FindStringSubmatch(line); m != nil {
			tr.end(m[1], m[2], tr.begun[m[1]]+m[3], m[4])
			delete(tr.begun, m[1])
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return tr.good, tr.syncs, tr.bad
}

// path is the file that a call's first argument, a descriptor, stands for.
func (tr *tracer) path(args string) string {
	if m := pathOfFD.FindStringSubmatch(args); m != nil {
		return m[1]
	}
	return ""
}

// begin is the moment from which a call may have had its effect: an id that is
// written down counts from here, and a sync covers what was written by then.
func (tr *tracer) begin(thread, name, args string) {
	path := tr.path(args)
	switch name {
	case "fsync", "fdatasync":
		tr.syncing[thread] = maps.Clone(tr.written[path]) // another sync of the file may be under way
	case "write":
		if strings.HasPrefix(args, "1<") {
			for _, id := range eventID.FindAllString(args, -1) {
				if tr.onDisk[id] {
					tr.good++
				} else {
					tr.bad = append(tr.bad, id)
				}
			}
		}
	}
}

// end is the moment at which a call's effect is certain.
func (tr *tracer) end(thread, name, args, result string) {
	path := tr.path(args)
	switch name {
	case "write", "writev", "pwrite64", "pwritev":
		if strings.HasPrefix(result, "-") || !strings.HasPrefix(path, tr.dir) {
			return
		}
		if tr.written[path] == nil {
			tr.written[path] = map[string]bool{}
		}
		for _, id := range eventID.FindAllString(args, -1) {
			tr.written[path][id] = true
		}
	case "fsync", "fdatasync":
		covered := tr.syncing[thread]
		delete(tr.syncing, thread)
		if result != "0" {
			return
		}
		tr.syncs++
		for id := range covered {
			tr.onDisk[id] = true
			delete(tr.written[path], id)
		}
	}
}
