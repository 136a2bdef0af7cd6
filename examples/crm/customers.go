package main

import (
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/callpop/connector/examples/internal/sqlite"
	"github.com/callpop/connector/schema"
)

// customer is one of the CRM's customers.
type customer struct {
	Number  string `json:"number"`
	Name    string `json:"name"`
	Company string `json:"company,omitempty"`
	Note    string `json:"note,omitempty"`
}

const customersTable = `
CREATE TABLE IF NOT EXISTS customers (
	number  TEXT PRIMARY KEY, -- E.164, or as the telephone system writes it
	name    TEXT NOT NULL,
	company TEXT NOT NULL,
	note    TEXT NOT NULL
) WITHOUT ROWID;`

// samples are customers for a first try: whose numbers call connector demo, too.
func samples() []customer {
	return []customer{
		{"10086", "中国移动", "China Mobile", "account manager: 王芳"},
		{"10010", "中国联通", "China Unicom", ""},
		{"10000", "中国电信", "China Telecom", ""},
		{"95588", "工商银行", "ICBC", "call back about the contract"},
		{"95533", "建设银行", "China Construction Bank", ""},
		{"95555", "招商银行", "China Merchants Bank", "gold"},
		{"12345", "市民热线", "City hotline", ""},
	}
}

// addCustomers adds customers, or changes those with their numbers.
func addCustomers(ctx context.Context, db *sql.DB, all []customer) error {
	return sqlite.InTx(ctx, db, func(ctx context.Context, tx *sql.Tx) error {
		for _, who := range all {
			_, err := tx.ExecContext(ctx, `INSERT INTO customers (number, name, company, note) VALUES (?, ?, ?, ?)
				ON CONFLICT (number) DO UPDATE SET name = excluded.name, company = excluded.company, note = excluded.note`,
				who.Number, who.Name, who.Company, who.Note)
			if err != nil {
				return fmt.Errorf("add customers: %w", err)
			}
		}
		return nil
	})
}

// addSamples adds the sample customers to a table that has none.
func addSamples(ctx context.Context, db *sql.DB) error {
	var filled bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM customers)`).Scan(&filled); err != nil || filled {
		return err
	}
	return addCustomers(ctx, db, samples())
}

// findCustomer looks a customer up by either form of the number; nil where nobody
// has it.
func findCustomer(ctx context.Context, tx *sql.Tx, by schema.Customer) (*customer, error) {
	if by.Number == "" {
		return nil, nil //nolint:nilnil // nobody is an answer
	}
	var who customer
	err := tx.QueryRowContext(ctx, `SELECT number, name, company, note FROM customers
		WHERE number IN (?1, ?2) ORDER BY number = ?1 DESC LIMIT 1`, by.E164, by.Number).
		Scan(&who.Number, &who.Name, &who.Company, &who.Note)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // nobody is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("look a customer up: %w", err)
	}
	return &who, nil
}

// readCustomers reads a file of comma-separated lines: number, name, company,
// note, of which the last two may be missing.
func readCustomers(path string) ([]customer, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read customers: %w", err)
	}
	defer func() { _ = file.Close() }()
	lines := csv.NewReader(file)
	lines.FieldsPerRecord = -1
	lines.ReuseRecord = true
	var all []customer
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read customers from %s: %w", path, err)
		}
		line, _ := lines.FieldPos(0)
		if len(fields) < 2 || len(fields) > 4 || fields[1] == "" {
			return nil, fmt.Errorf("read customers from %s: line %d has %d fields: expected number,name[,company[,note]]", path, line, len(fields))
		}
		whole := make([]string, 4)
		copy(whole, fields)
		// A spreadsheet's file may begin with a byte order mark, and people write
		// numbers with spaces and dashes.
		number := strings.NewReplacer(" ", "", "-", "", "\ufeff", "").Replace(whole[0])
		if number == "number" && line == 1 {
			continue
		}
		if digits := strings.TrimPrefix(number, "+"); digits == "" || strings.Trim(digits, "0123456789") != "" {
			return nil, fmt.Errorf("read customers from %s: line %d: field number is not one: expected digits, with a + in front of the country", path, line)
		}
		all = append(all, customer{Number: number, Name: whole[1], Company: whole[2], Note: whole[3]})
	}
}
