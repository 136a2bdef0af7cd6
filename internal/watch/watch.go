// Package watch follows files by looking at them.
//
// It looks instead of being told because what tells does not always: inotify says
// nothing on network file systems and bind mounts, and loses a file that is
// replaced, as editors do and as Kubernetes does with the links of a ConfigMap. A
// look at a handful of files costs nothing.
package watch

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"time"
)

// Interval is the time between two looks. A change counts once it has been the
// same for two of them, so that a file that is just being written is left alone.
const Interval = 250 * time.Millisecond

// maxFile bounds what is read of a file.
const maxFile = 8 << 20

// fresh is how long after its last change a file may change again without its
// time and size telling: clocks of file systems are coarse.
const fresh = 3 * time.Second

// Files follows files until ctx is done. files gives their names, each time
// anew; changed is called, by the one goroutine that looks, with those whose
// content it has not been called with yet: each that is there soon after it is
// first named, since it may have changed since its reader read it, and then those
// that change, come or go, in the order of files.
func Files(ctx context.Context, files func() []string, changed func(names []string)) {
	known := map[string]*file{}
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var found []string
		for _, name := range files() {
			f := known[name]
			if f == nil {
				f = &file{name: name}
				known[name] = f
			}
			if f.look() {
				found = append(found, name)
			}
		}
		if len(found) > 0 {
			changed(found)
		}
	}
}

// file is what is known of one.
type file struct {
	name string
	// info is of the last look; nil for a file that is not there.
	info os.FileInfo
	// given is the content that was reported, seen that of the last look.
	given, seen digest
}

// digest is that of a file's content; all zero for a file that cannot be read.
type digest [sha256.Size]byte

// look reports whether the content is another one, and was already at the last
// look.
func (f *file) look() bool {
	before := f.seen
	if f.mayDiffer() {
		f.read()
	}
	if f.seen != before || f.seen == f.given {
		return false
	}
	f.given = f.seen
	return true
}

// mayDiffer reports whether the content may be another than at the last look.
func (f *file) mayDiffer() bool {
	info, err := os.Stat(f.name)
	if err != nil || f.info == nil {
		return err == nil || f.info != nil
	}
	return !os.SameFile(info, f.info) || info.Size() != f.info.Size() || !info.ModTime().Equal(f.info.ModTime()) ||
		time.Since(info.ModTime()) < fresh
}

func (f *file) read() {
	f.info, f.seen = nil, digest{}
	opened, err := os.Open(f.name)
	if err != nil {
		return
	}
	defer func() { _ = opened.Close() }()
	info, err := opened.Stat()
	if err != nil {
		return
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.LimitReader(opened, maxFile)); err != nil {
		return // a directory, or a disk that fails: as good as not there
	}
	f.info = info
	copy(f.seen[:], hash.Sum(nil))
}
