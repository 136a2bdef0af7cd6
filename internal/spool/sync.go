package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// syncer brings one stream to disk for [SyncAlways]. The server's own way syncs
// once for each message. Here whoever has been told that his event is written
// waits for a round, and one sync serves all who wait when the round begins: a
// lone event waits for one sync, as it must, and sixty-four for one as well.
//
// It syncs the server's block files by their names, <number>.blk in the stream's
// directory: what is synced is the file, whoever wrote it. The server writes a
// message to its block before it answers, and starts block n+1 when n is full.
type syncer struct {
	dir string
	// syncFile is (*os.File).Sync.
	syncFile func(*os.File) error

	mu   sync.Mutex
	next *round // guarded by mu; nil while nobody waits for the round to come
	busy bool   // guarded by mu; a round is under way
	// runs has the goroutine of the rounds while there is one.
	runs sync.WaitGroup

	// block is the newest block that the rounds have seen; 0 before the first.
	// Only the round under way uses it.
	block int
}

// errSync is a disk that does not take what was written. What it had is unknown
// then: systems forget the pages that they could not write.
var errSync = errors.New("sync the log to disk")

type round struct {
	done chan struct{}
	err  error // set before done is closed
}

func newSyncer(dir string) *syncer {
	return &syncer{dir: dir, syncFile: (*os.File).Sync}
}

// wait returns nil once everything that was written before the call is on disk.
func (y *syncer) wait(ctx context.Context) error {
	y.mu.Lock()
	if y.next == nil {
		y.next = &round{done: make(chan struct{})}
	}
	r := y.next
	if !y.busy {
		y.busy = true
		y.runs.Go(y.run)
	}
	y.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the disk: %w", ctx.Err())
	}
}

// run does rounds until nobody waits.
func (y *syncer) run() {
	for {
		y.mu.Lock()
		r := y.next
		y.next = nil
		y.busy = r != nil
		y.mu.Unlock()
		if r == nil {
			return
		}
		if r.err = y.sync(); r.err != nil {
			r.err = fmt.Errorf("%w: %w", errSync, r.err)
		}
		close(r.done)
	}
}

// sync brings every block from the newest one known on to disk, and the directory
// if there are new ones.
func (y *syncer) sync() error {
	before := y.block
	if y.block == 0 {
		newest, err := newestBlock(y.dir)
		if err != nil {
			return err
		}
		y.block = newest
	}
	for {
		err := y.syncPath(y.blockPath(y.block))
		if errors.Is(err, fs.ErrNotExist) {
			// The limits took it away. What is newer is in the directory.
			newest, listErr := newestBlock(y.dir)
			if listErr != nil || newest == y.block {
				return errors.Join(err, listErr)
			}
			y.block = newest
			continue
		}
		if err != nil {
			return err
		}
		if _, err := os.Stat(y.blockPath(y.block + 1)); err != nil {
			break
		}
		y.block++
	}
	if y.block == before {
		return nil
	}
	return y.syncPath(y.dir)
}

func (y *syncer) blockPath(number int) string {
	return filepath.Join(y.dir, strconv.Itoa(number)+blockSuffix)
}

const blockSuffix = ".blk"

// syncPath syncs a file or a directory. Which descriptor asks does not matter.
func (y *syncer) syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(y.syncFile(f), f.Close())
}

// newestBlock finds the block with the highest number.
func newestBlock(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	newest := 0
	for _, entry := range entries {
		if digits, ok := strings.CutSuffix(entry.Name(), blockSuffix); ok {
			if n, err := strconv.Atoi(digits); err == nil {
				newest = max(newest, n)
			}
		}
	}
	if newest == 0 {
		return 0, fmt.Errorf("no block file in %s", dir)
	}
	return newest, nil
}
