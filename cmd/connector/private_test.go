package main

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// customers are the numbers of the customers in the pops of the tests for privacy.
var customers = []string{"013987654321", "02586307627", "15566778899", "008613655443322", "95588123", "+8613711223344"}

// secrets are those of their configuration.
var secrets = []string{"hunter2-nats", "hunter2-kafka", "hunter2-page-of-the-vendor", "hunter2-otlp", "hunter2-file", feedKey}

const feedKey = "hunter2-feed-a-key-of-32-bytes-or-more"

// forms are the ways in which a number may have got somewhere: as it is, as E.164,
// its last eight digits, escaped for a URL, as bytes in hex, in base64.
func forms(number string) []string {
	digits := strings.TrimLeft(number, "+0")
	all := []string{number, digits}
	if len(digits) > 8 {
		all = append(all, digits[len(digits)-8:])
	}
	for _, form := range slices.Clone(all) {
		all = append(all, url.QueryEscape(form), hex.EncodeToString([]byte(form)), strings.ToUpper(hex.EncodeToString([]byte(form))))
	}
	for skip := range 3 { // base64 depends on where in the bytes the number begins
		encoded := base64.StdEncoding.EncodeToString([]byte("xxx"[:skip] + digits))
		all = append(all, encoded[4:len(encoded)-4])
	}
	return all
}

// meaningless are digits that chance made, and that may be any eight.
var meaningless = regexp.MustCompile(`"(?:startTimeUnixNano|endTimeUnixNano|timeUnixNano|observedTimeUnixNano|traceId|spanId|parentSpanId|trace_id|span_id|id|time)":"[^"]*"|` +
	`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z?|\d\.\d+(?:e[+-]\d+)?`)

// private fails where a text has a customer's number or a secret.
func private(t *testing.T, where, text string) {
	t.Helper()
	text = meaningless.ReplaceAllString(text, "")
	for _, secret := range secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), hex.EncodeToString([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))} {
			at(t, where, text, form, secret)
		}
	}
	for _, number := range customers {
		for _, form := range forms(number) {
			at(t, where, text, form, number)
		}
	}
}

func at(t *testing.T, where, text, form, of string) {
	t.Helper()
	if i := strings.Index(text, form); i >= 0 {
		t.Errorf("%s has %s, as %q: …%s…", where, of, form, text[max(0, i-150):min(len(text), i+len(form)+80)])
	}
}
