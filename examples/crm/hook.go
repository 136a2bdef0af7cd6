package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
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
	url    string // empty: nowhere
	client *retryablehttp.Client
	log    *slog.Logger
}

// Within one attempt to handle an event the hook is tried so often; after that
// the event itself is tried again, for as long as it takes.
const hookRetries = 3

func newHook(url string, log *slog.Logger) *hook {
	client := retryablehttp.NewClient() // tries again on 5xx, 429 (as Retry-After says) and lost connections
	client.RetryMax = hookRetries
	client.RetryWaitMin, client.RetryWaitMax = 100*time.Millisecond, 5*time.Second
	client.HTTPClient.Timeout = 10 * time.Second
	client.Logger = nil // its lines would have the URL, which may hold a secret
	return &hook{url: url, client: client, log: log}
}

// maxAnswer is what is read of an answer, so that its connection can be kept.
const maxAnswer = 64 << 10

// post sends a call. A repeat carries the same Idempotency-Key, by which the CRM
// knows it. A call that the CRM refuses is logged and let go: it would refuse it
// again.
func (h *hook) post(ctx context.Context, c call) error {
	if h.url == "" {
		return nil
	}
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	request, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", c.Event)
	response, err := h.client.Do(request)
	if err != nil {
		return fmt.Errorf("post call of event %s to the hook: %w", c.Event, err)
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer)
	if response.StatusCode >= 300 {
		h.log.Warn("the CRM refused a call", "event", c.Event, "status", response.Status)
	}
	return nil
}
