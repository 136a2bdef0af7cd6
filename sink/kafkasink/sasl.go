package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// errLogin marks an error on our own side of a login, such as a password file
// that is gone.
var errLogin = errors.New("cannot log in")

// errRefused is what a connection that ends during a login means.
var errRefused = fmt.Errorf("%w: the broker closed the connection during the login, as it does to refuse it", errLogin)

// watched knows of logins that have begun and not ended. Brokers refuse some by
// closing the connection, which looks like any other end of one.
type watched struct {
	sasl.Mechanism
	open atomic.Int32
}

// Start begins a login.
func (w *watched) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	session, first, err := w.Mechanism.Start(ctx)
	if err != nil {
		return nil, nil, err
	}
	w.open.Add(1)
	return &watchedSession{session, w}, first, nil
}

// end counts a login that has ended, unless take has counted it already.
func (w *watched) end() {
	for {
		n := w.open.Load()
		if n == 0 || w.open.CompareAndSwap(n, n-1) {
			return
		}
	}
}

// take reports whether a login was under way, and forgets all that were.
func (w *watched) take() bool { return w.open.Swap(0) > 0 }

type watchedSession struct {
	sasl.StateMachine
	watched *watched
}

// Next goes on with a login.
func (s *watchedSession) Next(ctx context.Context, challenge []byte) (bool, []byte, error) {
	done, next, err := s.StateMachine.Next(ctx, challenge)
	if done || err != nil {
		s.watched.end()
	}
	return done, next, err
}

// mechanism makes the configured mechanism; nil without a login.
func (c *Config) mechanism() (sasl.Mechanism, error) {
	switch s := &c.SASL; s.Mechanism {
	case "":
		return nil, nil
	case mechanismPlain:
		return passwordLogin{name: "PLAIN", config: s, start: func(user, password string) (sasl.Mechanism, error) {
			return plain.Mechanism{Username: user, Password: password}, nil
		}}, nil
	case mechanismSCRAM256:
		return passwordLogin{name: "SCRAM-SHA-256", config: s, start: func(user, password string) (sasl.Mechanism, error) {
			return scram.Mechanism(scram.SHA256, user, password)
		}}, nil
	case mechanismSCRAM512:
		return passwordLogin{name: "SCRAM-SHA-512", config: s, start: func(user, password string) (sasl.Mechanism, error) {
			return scram.Mechanism(scram.SHA512, user, password)
		}}, nil
	default:
		token, err := c.tokenSource()
		if err != nil {
			return nil, err
		}
		return bearerLogin{token: token}, nil
	}
}

// passwordLogin reads the password anew for each connection.
type passwordLogin struct {
	name   string
	config *SASL
	start  func(user, password string) (sasl.Mechanism, error)
}

// Name is the mechanism's name on the wire.
func (l passwordLogin) Name() string { return l.name }

// Start begins a login.
func (l passwordLogin) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	password, err := readSecret(l.config.Password, l.config.PasswordFile)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: read sasl.password_file: %w", errLogin, err)
	}
	m, err := l.start(l.config.User, password)
	if err != nil {
		// What the library says may quote the password.
		return nil, nil, fmt.Errorf("%w: sasl.user or the password has characters that %s cannot carry", errLogin, l.name)
	}
	return m.Start(ctx)
}

// bearerLogin is OAUTHBEARER (RFC 7628), which kafka-go does not have.
type bearerLogin struct {
	token func(ctx context.Context) (string, error)
}

// Name is the mechanism's name on the wire.
func (bearerLogin) Name() string { return "OAUTHBEARER" }

// Start gets a token and makes the client's only message of a good login.
func (l bearerLogin) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	token, err := l.token(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errLogin, err)
	}
	return bearerSession{}, []byte("n,,\x01auth=Bearer " + token + "\x01\x01"), nil
}

// bearerSession awaits the broker's verdict.
type bearerSession struct{}

// Next ends the login: an empty challenge is a good one, any other is the reason
// of a refusal in JSON. RFC 7628 has the client answer a refusal with one byte
// before the server fails the login; closing the connection says the same.
func (bearerSession) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if len(challenge) == 0 {
		return true, nil, nil
	}
	return false, nil, fmt.Errorf("%w: the broker refused the token: %s", errLogin, excerpt(string(challenge)))
}

// excerpt makes text from outside fit for an error: printable, and short.
func excerpt(text string) string {
	const limit = 200
	text = strings.ToValidUTF8(text, "?")
	var b strings.Builder
	for _, r := range text {
		if b.Len() >= limit {
			b.WriteString("…")
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return b.String()
}
