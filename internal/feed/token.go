package feed

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/callpop/connector/internal/secret"
)

// claims are those of an agent's token, a JWT (RFC 7519) signed with HS256.
type claims struct {
	Server string `json:"server"`
	Agent  string `json:"agent"`
	jwt.RegisteredClaims
}

// Sign makes a token that reads the pops of one agent of one server until it
// expires. Any JWT library makes the same: algorithm HS256, the key's bytes as they
// are, claims server, agent and exp.
func Sign(key secret.Value, server, agent string, expires time.Time) (string, error) {
	if len(key.Reveal()) < minKey {
		return "", fmt.Errorf("sign a token: the key has %d bytes: expected %d or more", len(key.Reveal()), minKey)
	}
	if server == "" || agent == "" {
		return "", errors.New("sign a token: expected a server and an agent")
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{server, agent, jwt.RegisteredClaims{
		IssuedAt: jwt.NewNumericDate(time.Now()), ExpiresAt: jwt.NewNumericDate(expires),
	}}).SignedString([]byte(key.Reveal()))
}

// access is what a request may read.
type access struct {
	agent agentKey
	// until is when it ends; the zero time is never.
	until time.Time
}

// agentKey names an agent's feed.
type agentKey struct{ server, agent string }

// refusal is an answer to a request that may not be served.
type refusal struct {
	status int
	// reason is fit for a metric's label.
	reason, message string
}

func (r *refusal) Error() string { return r.message }

const (
	// maxBearer bounds what is looked at: an agent's token has some 200 bytes.
	maxBearer = 2048
	// leeway is what two machines' clocks may differ.
	leeway = 30 * time.Second
)

// keys decide who may read.
type keys struct {
	token  [sha256.Size]byte
	any    bool // token is set
	key    []byte
	parser *jwt.Parser
}

func newKeys(c Config) *keys {
	return &keys{
		token: sha256.Sum256([]byte(c.Token.Reveal())), any: !c.Token.IsZero(), key: []byte(c.SigningKey.Reveal()),
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway)),
	}
}

// admit says what a request with a bearer token may read of the agent that it
// asks for. It keeps nothing of a token that is wrong.
func (k *keys) admit(r *http.Request, agent agentKey) (access, error) {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return access{}, &refusal{http.StatusUnauthorized, "no_token", "expected the header Authorization: Bearer with a token, or ?ticket= with a ticket"}
	}
	if len(bearer) > maxBearer {
		return access{}, &refusal{http.StatusUnauthorized, "bad_token", "the token is not valid"}
	}
	// How long this takes says nothing of how much of the token was right.
	sum := sha256.Sum256([]byte(bearer))
	if k.any && subtle.ConstantTimeCompare(sum[:], k.token[:]) == 1 {
		return access{agent: agent}, nil
	}
	if len(k.key) == 0 {
		return access{}, &refusal{http.StatusUnauthorized, "bad_token", "the token is not valid"}
	}
	var c claims
	_, err := k.parser.ParseWithClaims(bearer, &c, func(*jwt.Token) (any, error) { return k.key, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) && c.ExpiresAt != nil:
		// The signature was looked at before the time: this is no word to a stranger.
		return access{}, &refusal{http.StatusUnauthorized, "expired_token", "the token expired at " + c.ExpiresAt.UTC().Format(time.RFC3339)}
	case err != nil:
		return access{}, &refusal{http.StatusUnauthorized, "bad_token", "the token is not valid"}
	case (agentKey{c.Server, c.Agent}) != agent:
		return access{}, &refusal{http.StatusForbidden, "other_agent", fmt.Sprintf("this token is for agent %q of server %q", c.Agent, c.Server)}
	}
	return access{agent: agent, until: c.ExpiresAt.Add(leeway)}, nil
}
