package console

import (
	"encoding/json"
	"strings"
	"unicode"

	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/schema"
)

// hidden stands for what is masked as a whole.
const hidden = "****"

// maxKeys is the greatest number of digits that a caller may have typed and that is
// shown to everybody: the choices of a menu, and nobody's card or secret number.
const maxKeys = 3

// maskKeys hides what a caller typed, unless it can only be the choices of a menu.
func maskKeys(typed string) string {
	digits := 0
	for _, r := range typed {
		if unicode.IsDigit(r) {
			digits++
		}
	}
	if digits > maxKeys {
		return hidden
	}
	return typed
}

// maskPop hides in a pop what may be a customer's.
func maskPop(e *schema.CallPop) {
	e.Customer.Number = telemetry.MaskNumber(e.Customer.Number)
	e.Customer.E164 = telemetry.MaskNumber(e.Customer.E164)
	e.IVR.Keys = maskKeys(e.IVR.Keys)
	e.IVR.Member = telemetry.MaskText(e.IVR.Member)
	e.IVR.Data = telemetry.MaskText(e.IVR.Data)
	e.IVR.Fields, e.Extra = maskMap(e.IVR.Fields), maskMap(e.Extra)
	if e.RawBase64 != "" {
		e.RawBase64 = hidden
	}
}

// maskMap hides in names too: they come off the wire as the values do.
func maskMap(m map[string]string) map[string]string {
	masked := make(map[string]string, len(m))
	for name, value := range m {
		masked[telemetry.MaskText(name)] = telemetry.MaskText(value)
	}
	return masked
}

// maskLetter hides in a dead letter what may be a customer's: any of its bytes.
func maskLetter(d *schema.DeadLetter) {
	d.Raw = telemetry.MaskText(d.Raw)
	if d.RawBase64 != "" {
		d.RawBase64 = hidden
	}
}

// indented is a body for people to read.
func indented(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}
