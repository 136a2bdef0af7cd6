package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	_ "modernc.org/sqlite" // the driver

	"github.com/callpop/connector/schema"
)

// customer is one of the CRM's customers.
type customer struct {
	Number  string `json:"number"`
	Name    string `json:"name"`
	Company string `json:"company,omitempty"`
	Note    string `json:"note,omitempty"`
}

// customers is the customer table, and which events were handled.
type customers struct{ db *sql.DB }

const customersSchema = `
CREATE TABLE IF NOT EXISTS customers (
	number  TEXT PRIMARY KEY, -- E.164, or as the telephone system writes it
	name    TEXT NOT NULL,
	company TEXT NOT NULL DEFAULT '',
	note    TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS handled (
	event TEXT PRIMARY KEY,
	at    TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
) WITHOUT ROWID;`

// openCustomers opens the table, and makes it where it is not there.
func openCustomers(ctx context.Context, path string) (*customers, error) {
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer
	if _, err := db.ExecContext(ctx, customersSchema); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
	}
	return &customers{db}, nil
}

func (c *customers) close() error { return c.db.Close() }

// add adds a customer, or changes the one with that number.
func (c *customers) add(ctx context.Context, who customer) error {
	_, err := c.db.ExecContext(ctx, `INSERT INTO customers (number, name, company, note) VALUES (?, ?, ?, ?)
		ON CONFLICT (number) DO UPDATE SET name = excluded.name, company = excluded.company, note = excluded.note`,
		who.Number, who.Name, who.Company, who.Note)
	return err
}

// find looks a customer up by either form of the number; nil where nobody has it.
func (c *customers) find(ctx context.Context, by schema.Customer) (*customer, error) {
	if by.Number == "" {
		return nil, nil //nolint:nilnil // nobody is an answer
	}
	var who customer
	err := c.db.QueryRowContext(ctx, `SELECT number, name, company, note FROM customers
		WHERE number IN (?, ?) ORDER BY number = ? DESC LIMIT 1`, by.E164, by.Number, by.E164).
		Scan(&who.Number, &who.Name, &who.Company, &who.Note)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // nobody is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("look a customer up: %w", err)
	}
	return &who, nil
}

// handled reports whether an event was handled before.
func (c *customers) handled(ctx context.Context, event string) (bool, error) {
	var n int
	err := c.db.QueryRowContext(ctx, `SELECT count(*) FROM handled WHERE event = ?`, event).Scan(&n)
	return n > 0, err
}

// settle notes that an event was handled.
func (c *customers) settle(ctx context.Context, event string) error {
	_, err := c.db.ExecContext(ctx, `INSERT OR IGNORE INTO handled (event) VALUES (?)`, event)
	return err
}
