// Package sqlite opens the examples' databases.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver: SQLite itself, translated to Go
)

// A transaction that has ended is on the disk: what is acknowledged to the broker
// afterwards does not come again. Readers do not wait for the writer.
const settings = "?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)"

// Open opens the database in a file, and makes it with its tables where it is not
// there. It holds customers' numbers: a new file is its owner's alone. The tables
// are statements that change nothing where they were run before.
func Open(ctx context.Context, path, tables string) (_ *sql.DB, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open database %s: %w", path, err)
		}
	}()
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	name := url.URL{Path: filepath.ToSlash(absolute)}
	db, err := sql.Open("sqlite", "file:"+name.EscapedPath()+settings)
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, tables); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// InTx runs do in a transaction, which is undone where do fails. It does not end
// in the middle because ctx does.
func InTx(ctx context.Context, db *sql.DB, do func(context.Context, *sql.Tx) error) error {
	ctx = context.WithoutCancel(ctx)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin a transaction: %w", err)
	}
	if err := do(ctx, tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("end a transaction: %w", err)
	}
	return nil
}
