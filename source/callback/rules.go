package callback

import (
	"net/netip"

	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/source"
)

// rules are what may change while requests are answered.
type rules struct {
	redirect        *Redirect // nil: 204
	allowed         []netip.Prefix
	secret          secret.Value
	secretParameter string
}

func newRules(c *Config) (r *rules, err error) {
	r = &rules{secret: c.Secret, secretParameter: c.SecretParameter}
	if r.allowed, err = source.ParseAllow(c.Allow); err != nil {
		return nil, err
	}
	if c.Redirect != "" {
		if r.redirect, err = ParseRedirect(c.Redirect); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Update puts in force what a valid Config has of redirect, charset, timezone,
// area_code, secret, secret_parameter and allow. All else stays as it was made.
func (s *Source) Update(c Config) error {
	decoding, err := c.decoding()
	if err != nil {
		return err
	}
	r, err := newRules(&c)
	if err != nil {
		return err
	}
	s.origin.Decoding.Become(decoding)
	s.rules.Store(r)
	return nil
}
