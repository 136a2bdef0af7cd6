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

	// block is where the next round begins: the newest block of the last one, which
	// was written to while it was synced. Before the first round it is the newest
	// block there was, 0 for none. Only the round under way uses it.
	block int
	// listed is the newest block whose name is on disk with certainty.
	listed int
}

// errSync is a disk that does not take what was written. What it had is unknown
// then: systems forget the pages that they could not write.
var errSync = errors.New("sync the log to disk")

type round struct {
	done chan struct{}
	err  error // set before done is closed
}

// newSyncer makes one for the stream in dir, before anything is written to it.
func newSyncer(dir string) (*syncer, error) {
	_, newest, err := blocks(dir)
	if err != nil {
		return nil, err
	}
	return &syncer{dir: dir, syncFile: (*os.File).Sync, block: newest}, nil
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

// sync brings everything to disk that was written before the call. That is in the
// blocks that exist now: one that is begun meanwhile belongs to the next round.
// That round begins with the block that is the newest now, because until the
// server begins another it goes on writing to it, also behind the sync's back.
func (y *syncer) sync() error {
	first, newest, err := y.present()
	if err != nil {
		return err
	}
	for n := first; n <= newest; n++ {
		if err := y.syncPath(y.blockPath(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		} // one that is gone was taken by the limits, and its events with it
	}
	if newest > y.listed {
		if err := y.syncPath(y.dir); err != nil {
			return err
		}
		y.listed = newest
	}
	y.block = newest
	return nil
}

// present finds the blocks that a round syncs.
func (y *syncer) present() (first, newest int, err error) {
	newest = y.block
	for {
		_, err := os.Stat(y.blockPath(newest + 1))
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return 0, 0, err
		}
		newest++
	}
	if newest > y.block && y.block > 0 {
		return y.block, newest, nil
	}
	if _, err := os.Stat(y.blockPath(y.block)); err == nil {
		return y.block, y.block, nil
	}
	// None was there yet, or the limits took it away: look what there is.
	oldest, newest, err := blocks(y.dir)
	if err == nil && newest == 0 {
		err = fmt.Errorf("no block file in %s", y.dir)
	}
	return max(y.block, oldest), newest, err
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

// blocks finds the lowest and the highest number of a block in dir; 0 where there
// is none.
func blocks(dir string) (oldest, newest int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, 0, err
	}
	for _, entry := range entries {
		digits, ok := strings.CutSuffix(entry.Name(), blockSuffix)
		if !ok {
			continue
		}
		if n, err := strconv.Atoi(digits); err == nil && n > 0 {
			newest = max(newest, n)
			if oldest == 0 || n < oldest {
				oldest = n
			}
		}
	}
	return oldest, newest, nil
}
