package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// call is what the CRM's web hook gets.
type call struct {
	Event  string    `json:"event"`
	Key    string    `json:"key"`
	Server string    `json:"server"`
	Agent  string    `json:"agent,omitempty"`
	Mode   string    `json:"mode,omitempty"`
	Number string    `json:"number,omitempty"`
	At     time.Time `json:"at"`
	// Late says that the call is over by now: for the history, not for the screen.
	Late     bool      `json:"late,omitempty"`
	Customer *customer `json:"customer,omitempty"`
}

// hook posts calls to a CRM.
type hook struct {
	url    string
	token  string // for Authorization: Bearer; empty: none
	client *retryablehttp.Client
}

// One attempt to post is up to three tries, for what passes within seconds; after
// it the outbox waits longer and longer.
const (
	hookRetries   = 2
	hookTimeout   = 5 * time.Second // of a try
	firstWait     = 100 * time.Millisecond
	lastWait      = 2 * time.Second
	postsAtOnce   = 8
	maxAnswer     = 64 << 10 // is read of an answer, so that its connection can be kept
	hookUserAgent = "callpop-crm-example"
)

func newHook(url, token string) *hook {
	client := retryablehttp.NewClient() // tries again on 5xx, 429 and lost connections
	client.RetryMax, client.RetryWaitMin, client.RetryWaitMax = hookRetries, firstWait, lastWait
	client.Backoff = func(shortest, longest time.Duration, try int, answer *http.Response) time.Duration {
		// Retry-After may ask for days: those are the outbox's to wait.
		return min(longest, retryablehttp.DefaultBackoff(shortest, longest, try, answer))
	}
	client.ErrorHandler = retryablehttp.PassthroughErrorHandler
	client.Logger = nil // its lines would have the URL, which may hold a secret
	client.HTTPClient.Timeout = hookTimeout
	client.HTTPClient.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a redirect may make a GET of the POST
	}
	if transport, ok := client.HTTPClient.Transport.(*http.Transport); ok {
		transport.MaxIdleConnsPerHost = postsAtOnce
	}
	return &hook{url: url, token: token, client: client}
}

// post sends a call, and says what became of it. A repeat carries the same
// Idempotency-Key, by which the CRM knows it. Where it is to wait, why says for
// what, without the URL.
func (h *hook) post(ctx context.Context, event string, body []byte) (s state, why string) {
	request, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, h.url, body)
	if err != nil {
		return waiting, "the URL is none"
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", event)
	request.Header.Set("User-Agent", hookUserAgent)
	if h.token != "" {
		request.Header.Set("Authorization", "Bearer "+h.token)
	}
	answer, err := h.client.Do(request)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err
		}
		return waiting, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.CopyN(io.Discard, answer.Body, maxAnswer)
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return refused, answer.Status // this call, and it would do so again
	default:
		if answer.StatusCode/100 == 2 {
			return done, ""
		}
		return waiting, answer.Status // a wrong token, a wrong path, a broken CRM: all of these get mended
	}
}

// close ends the connections that are kept.
func (h *hook) close() { h.client.HTTPClient.CloseIdleConnections() }
