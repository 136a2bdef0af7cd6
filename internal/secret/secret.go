// Package secret holds configuration values that no output may show: every way
// of printing a [Value] gives a placeholder.
package secret

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Value is a secret. Its zero value is empty.
type Value struct{ text string }

// New makes a secret of text.
func New(text string) Value { return Value{text: text} }

// Reveal gives the secret itself, for the one place that needs it.
func (v Value) Reveal() string { return v.text }

// IsZero reports whether no secret is set.
func (v Value) IsZero() bool { return v.text == "" }

// String gives a placeholder, or nothing where no secret is set.
func (v Value) String() string {
	if v.text == "" {
		return ""
	}
	return redacted
}

// Format answers every verb of package fmt with the placeholder.
func (v Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(v.String())) }

// MarshalText gives the placeholder to JSON, YAML and the like.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// LogValue gives the placeholder to package slog.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.String()) }

// UnmarshalText takes text as the secret.
func (v *Value) UnmarshalText(text []byte) error {
	v.text = string(text)
	return nil
}
