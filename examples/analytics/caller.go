package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/callpop/connector/examples/internal/mask"
	"github.com/callpop/connector/schema"
)

// caller is who called, without the number.
type caller struct {
	// id is the same for every call of a number, and empty where the number is
	// withheld.
	id string
	// shown is the number with its middle hidden.
	shown  string
	region string
}

// newCaller hides a number. The secret keeps whoever sees an id from trying all
// numbers until one has it.
func newCaller(secret []byte, by schema.Customer) caller {
	number := by.E164
	if number == "" {
		number = by.Number
	}
	c := caller{region: regionOf(by.E164)}
	if !strings.ContainsAny(number, "0123456789") {
		return c // none, or such as "anonymous"
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(number))
	c.id = hex.EncodeToString(mac.Sum(nil)[:8])
	c.shown = mask.Number(number)
	return c
}
