package watch

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// follow follows files and gives what changes.
func follow(t *testing.T, names ...string) <-chan []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changed := make(chan []string, 100)
	var watching sync.WaitGroup
	watching.Go(func() { Files(ctx, func() []string { return names }, func(names []string) { changed <- names }) })
	t.Cleanup(func() { cancel(); watching.Wait() })
	return changed
}

func next(t *testing.T, changed <-chan []string, want ...string) {
	t.Helper()
	select {
	case got := <-changed:
		if !slices.Equal(got, want) {
			t.Fatalf("changed: %v, want %v", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("nothing changed, want %v", want)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEachWayToChangeAFileIsSeen(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "roster")
	write(t, name, "801")
	changed := follow(t, name)
	next(t, changed, name) // it may have changed since it was read
	write(t, name, "802")
	next(t, changed, name)
	other := filepath.Join(dir, "other")
	write(t, other, "803")
	if err := os.Rename(other, name); err != nil {
		t.Fatal(err)
	}
	next(t, changed, name)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	next(t, changed, name)
	write(t, name, "803")
	next(t, changed, name)
}

// TestAConfigMapSwapIsSeen does what the kubelet does: the files are links to
// ..data, which is a link to a directory and is replaced as a whole.
func TestAConfigMapSwapIsSeen(t *testing.T) {
	dir := t.TempDir()
	swap := func(version, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "roster"), text)
		made := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(version, made); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(made, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", "801")
	name := filepath.Join(dir, "roster")
	if err := os.Symlink(filepath.Join("..data", "roster"), name); err != nil {
		t.Fatal(err)
	}
	changed := follow(t, name)
	next(t, changed, name)
	swap("..2", "802")
	if err := os.RemoveAll(filepath.Join(dir, "..1")); err != nil {
		t.Fatal(err)
	}
	next(t, changed, name)
	swap("..3", "803")
	next(t, changed, name)
}

func TestAFileThatIsBeingWrittenIsLeftAlone(t *testing.T) {
	name := filepath.Join(t.TempDir(), "roster")
	write(t, name, "801\n802\n")
	f := &file{name: name}
	for i := range 5 {
		write(t, name, "801\n802\n"[:1+i])
		if f.look() {
			t.Fatalf("taken while it changes, at look %d", i)
		}
	}
	write(t, name, "801\n803\n")
	if f.look() {
		t.Fatal("taken at the first look")
	}
	if !f.look() {
		t.Fatal("not taken at the second look at the same content")
	}
	if f.look() {
		t.Fatal("taken twice")
	}
}
