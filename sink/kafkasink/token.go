package kafkasink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/callpop/connector/internal/secret"
)

// Limits of a token server's answer.
const (
	maxTokenAnswer = 256 << 10
	// tokenTimeout bounds one request to a token server; a connection's own
	// time-out may be shorter.
	tokenTimeout = 10 * time.Second
)

// tokenSource makes the function that gives a token for each login.
func (c *Config) tokenSource() (func(context.Context) (string, error), error) {
	if file := c.SASL.TokenFile; file != "" {
		return func(context.Context) (string, error) {
			token, err := readSecret(secret.Value{}, file)
			if err == nil {
				err = checkToken(token)
			}
			if err != nil {
				return "", fmt.Errorf("read sasl.token_file: %w", err)
			}
			return token, nil
		}, nil
	}
	tls, err := c.TLS.tokenServerConfig()
	if err != nil {
		return nil, err
	}
	f := &tokenFetcher{
		config: &c.SASL.OAuth,
		client: &http.Client{
			// One connection for each token: hours lie between two.
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: tls, DisableKeepAlives: true},
			Timeout:   tokenTimeout,
			// Following a redirection would hand the client's secret to another.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	return f.token, nil
}

// checkToken refuses what the message of OAUTHBEARER cannot carry (RFC 6750,
// 2.1), without quoting it.
func checkToken(token string) error {
	if token == "" {
		return errors.New("the token is empty")
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token has characters that are not visible ASCII")
	}
	return nil
}

// tokenFetcher fetches tokens by client credentials and keeps one for as long as
// it is good.
type tokenFetcher struct {
	config *OAuth
	client *http.Client

	mu     sync.Mutex // guards what follows
	last   string
	expiry time.Time
}

// token returns a token with at least a fifth of its life before it.
func (f *tokenFetcher) token(ctx context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != "" && time.Now().Before(f.expiry) {
		return f.last, nil
	}
	token, lifetime, err := f.fetch(ctx)
	if err != nil {
		return "", fmt.Errorf("get a token from sasl.oauth.token_url: %w", err)
	}
	f.last, f.expiry = token, time.Now().Add(lifetime*4/5)
	return token, nil
}

// fetch asks for a token as RFC 6749 has it in section 4.4.
func (f *tokenFetcher) fetch(ctx context.Context) (token string, lifetime time.Duration, err error) {
	clientSecret, err := readSecret(f.config.ClientSecret, f.config.ClientSecretFile)
	if err != nil {
		return "", 0, fmt.Errorf("read sasl.oauth.client_secret_file: %w", err)
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if f.config.Scope != "" {
		form.Set("scope", f.config.Scope)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.config.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	// RFC 6749, 2.3.1: id and secret are form-encoded before they are joined.
	req.SetBasicAuth(url.QueryEscape(f.config.ClientID), url.QueryEscape(clientSecret))
	res, err := f.client.Do(req)
	if err != nil {
		var bare *url.Error // its text repeats the URL, query and all
		if errors.As(err, &bare) {
			err = bare.Err
		}
		return "", 0, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxTokenAnswer+1))
	if err != nil {
		return "", 0, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxTokenAnswer {
		return "", 0, fmt.Errorf("the answer is larger than %d bytes", maxTokenAnswer)
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		Error       string  `json:"error"`
	}
	bad := json.Unmarshal(body, &answer)
	if res.StatusCode != http.StatusOK {
		return "", 0, fmt.Errorf("status %d %s", res.StatusCode, excerpt(answer.Error))
	}
	if bad != nil {
		return "", 0, errors.New("the answer is not JSON")
	}
	if err := checkToken(answer.AccessToken); err != nil {
		return "", 0, err
	}
	// Without expires_in the token is used once; with an absurd one, for a day.
	seconds := min(max(answer.ExpiresIn, 0), 86400)
	return answer.AccessToken, time.Duration(seconds * float64(time.Second)), nil
}
