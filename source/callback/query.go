package callback

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/callpop/connector/internal/secret"
)

// maxQuery bounds the address, and the body: twice what can be decoded, so that
// what is somewhat too long is kept as a dead letter.
const maxQuery = 16 << 10

// errRefused is a request that is not taken; its status says why.
type errRefused struct {
	status int
	result string // for the metric
	text   string // for the client
}

func (e *errRefused) Error() string { return e.text }

// readQuery returns the parameters of a request, those of its address before those
// of its body. The error is an errRefused.
func readQuery(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if len(r.RequestURI) > maxQuery {
		return nil, &errRefused{http.StatusRequestURITooLong, "too_large", "the address is too long"}
	}
	// With custURL=http://…/pop?? the second mark would be part of the first name.
	query := []byte(strings.TrimLeft(r.URL.RawQuery, "?"))
	if r.Method != http.MethodPost {
		return query, nil
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "", "application/x-www-form-urlencoded", "text/plain":
	default:
		return nil, &errRefused{http.StatusUnsupportedMediaType, "media_type", "the body is not application/x-www-form-urlencoded"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuery))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &errRefused{http.StatusRequestEntityTooLarge, "too_large", "the body is too large"}
	case err != nil:
		return nil, &errRefused{http.StatusBadRequest, "broken", "the body broke off"}
	}
	body = bytes.TrimRight(body, "\r\n")
	if len(query) > 0 && len(body) > 0 {
		query = append(query, '&')
	}
	return append(query, body...), nil
}

// strip takes the parameters of that name out of query, and returns their values.
func strip(query []byte, name string) (rest []byte, values []string) {
	for more := true; more; {
		var piece []byte
		piece, query, more = bytes.Cut(query, []byte("&"))
		if key, value, ok := bytes.Cut(piece, []byte("=")); ok && strings.Trim(unescape(key), " ") == name {
			values = append(values, unescape(value))
			continue
		}
		if len(piece) == 0 {
			continue
		}
		if len(rest) > 0 {
			rest = append(rest, '&')
		}
		rest = append(rest, piece...)
	}
	return rest, values
}

func unescape(text []byte) string {
	plain, err := url.QueryUnescape(string(text))
	if err != nil {
		return string(text)
	}
	return plain
}

// bearer returns the credentials of an Authorization header, or nothing.
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// carries says whether one of the texts is the secret, in a time that tells
// nothing of how much of it was right.
func carries(s secret.Value, texts ...string) bool {
	want := sha256.Sum256([]byte(s.Reveal()))
	found := 0
	for _, text := range texts {
		got := sha256.Sum256([]byte(text))
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return found == 1
}
