package main

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/callpop/connector/examples/internal/sqlite"
)

// plotter writes a page for each day.
type plotter struct {
	store *store
	dir   string
	now   func() time.Time
	// written is told each page's path.
	written func(path string)
}

// run plots what has changed, until ctx is done.
func (p *plotter) run(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := p.plot(ctx); err != nil {
			return err
		}
	}
}

// plot writes the pages of the days that have changed, or ended, since. A page is written before its
// day counts as plotted: a crash between the two has it written again.
func (p *plotter) plot(ctx context.Context) error {
	for {
		var path string
		err := sqlite.InTx(ctx, p.store.db, func(ctx context.Context, tx *sql.Tx) error {
			var day string
			now := p.now()
			err := tx.QueryRowContext(ctx, `SELECT coalesce(min(day), '') FROM days WHERE stale OR (NOT over AND day < ?)`,
				p.store.day(now)).Scan(&day)
			if err != nil || day == "" {
				return err
			}
			r, err := p.store.readReport(ctx, tx, day, now)
			if err != nil {
				return err
			}
			path = filepath.Join(p.dir, day+".html")
			if err := write(path, r); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `UPDATE days SET stale = 0, over = ? WHERE day = ?`, r.over(), day)
			return err
		})
		switch {
		case err != nil:
			return fmt.Errorf("plot a day: %w", err)
		case path == "":
			return nil
		}
		p.written(path)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// write replaces a page as a whole.
func write(path string, r *report) error {
	var page bytes.Buffer
	if err := pageTemplate().Execute(&page, newPage(r)); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.WriteFile(fresh, page.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
