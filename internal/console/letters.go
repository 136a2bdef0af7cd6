package console

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/schema"
)

const (
	// pageLetters is how many places of the log one answer looks at, and at most
	// pageWindows times, until it has found a dead letter.
	pageLetters = 100
	pageWindows = 20
	// maxRetries bounds the dead letters of one retry.
	maxRetries = 100
	// retryTime bounds a retry: an answer takes two minutes at most.
	retryTime = 100 * time.Second
)

// letters is a page of the dead letters, the newest first.
type letters struct {
	Letters []eventView `json:"letters"`
	// Before is what the next page begins before; absent on the last.
	Before uint64 `json:"before,omitempty"`
}

// serveLetters answers with the newest dead letters before a sequence.
func (c *Console) serveLetters(w http.ResponseWriter, r *http.Request) {
	before, err := strconv.ParseUint(cmp.Or(r.URL.Query().Get("before"), "0"), 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, "before: expected a sequence")
		return
	}
	leave, err := c.enter(r.Context())
	if err != nil {
		c.fail(w, err)
		return
	}
	defer leave()
	page, err := c.letters(r.Context(), before, web.ViewerOf(r.Context()).SeesNumbers())
	if err != nil {
		c.fail(w, err)
		return
	}
	answer(w, http.StatusOK, page)
}

func (c *Console) letters(ctx context.Context, before uint64, numbers bool) (letters, error) {
	page := letters{Letters: []eventView{}}
	held, err := c.host.Spool.State(ctx, schema.TypeDeadLetter)
	if err != nil {
		return page, err
	}
	through := held.Last
	if before > 0 {
		through = min(through, before-1)
	}
	for range pageWindows {
		if through < held.First {
			return page, nil
		}
		after := max(through-min(through, pageLetters), held.First-1)
		err := control.Call(ctx, c.client, control.Read, control.ReadRequest{
			Filter: control.Filter{Types: []schema.Type{schema.TypeDeadLetter}, After: after, Through: through},
		}, func(e control.Entry) error {
			page.Letters = append(page.Letters, viewOf(&e.Event, e.Sequence, numbers))
			return nil
		})
		if err != nil {
			return page, err
		}
		if through = after; len(page.Letters) > 0 {
			break
		}
	}
	if through >= held.First {
		page.Before = through + 1
	}
	slices.Reverse(page.Letters)
	return page, nil
}

// serveRetry puts dead letters back into the line, as 'connector dlq retry' does.
func (c *Console) serveRetry(w http.ResponseWriter, r *http.Request) {
	if !web.ViewerOf(r.Context()).MayChange {
		refuse(w, http.StatusForbidden, "nothing can be changed without http.admin_token")
		return
	}
	var request struct {
		Letters []struct {
			ID       string `json:"id"`
			Sequence uint64 `json:"sequence"`
		} `json:"letters"`
	}
	if err := read(w, r, &request); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if n := len(request.Letters); n == 0 || n > maxRetries {
		refuse(w, http.StatusBadRequest, "expected 1 to "+strconv.Itoa(maxRetries)+" dead letters")
		return
	}
	select {
	case c.retrying <- struct{}{}:
		defer func() { <-c.retrying }()
	default:
		refuse(w, http.StatusConflict, "another retry is under way")
		return
	}
	f := control.Filter{Types: []schema.Type{schema.TypeDeadLetter}, After: math.MaxUint64}
	for _, l := range request.Letters {
		if l.ID == "" || l.Sequence == 0 {
			refuse(w, http.StatusBadRequest, "expected the id and the sequence of each dead letter")
			return
		}
		f.IDs = append(f.IDs, l.ID)
		f.Through = max(f.Through, l.Sequence)
		f.After = min(f.After, l.Sequence-1)
	}
	ctx, cancel := context.WithTimeout(r.Context(), retryTime)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	done := []control.Retried{}
	good := 0
	err := control.Call(ctx, c.client, control.Retry, control.RetryRequest{Filter: f}, func(one control.Retried) error {
		done = append(done, one)
		if one.Outcome.Good() {
			good++
		}
		return nil
	})
	c.log.Info("dead letters were retried from the console", "retried", good, "failed", len(done)-good, "peer", r.RemoteAddr)
	result := struct {
		Retried []control.Retried `json:"retried"`
		// Error is why the retry ended early.
		Error string `json:"error,omitempty"`
	}{Retried: done}
	if err != nil {
		result.Error = err.Error()
	}
	answer(w, http.StatusOK, result)
}
