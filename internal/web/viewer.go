package web

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/internal/secret"
)

// Viewer is who made a request that a [Guard] let through.
type Viewer struct {
	// LogIn says that there is a token to log in with.
	LogIn bool
	// MayChange is true for who has proved to know http.admin_token.
	MayChange bool
	// session is that of a browser that logged in; nil without one.
	session *session
}

type viewerKey struct{}

// ViewerOf is who made the request with this context; the zero Viewer, who may only
// read, where no Guard let it through.
func ViewerOf(ctx context.Context) Viewer {
	v, _ := ctx.Value(viewerKey{}).(Viewer)
	return v
}

// Ends is when the log-in is over; zero for who did not log in.
func (v Viewer) Ends() time.Time {
	if v.session == nil {
		return time.Time{}
	}
	return v.session.ends
}

// SeesNumbers reports whether the viewer is to be shown customers' numbers: only who
// logged in and asked for them is.
func (v Viewer) SeesNumbers() bool { return v.session != nil && v.session.numbers.Load() }

// ShowNumbers sets whether the viewer is shown customers' numbers. It returns false,
// and changes nothing, for who is not logged in.
func (v Viewer) ShowNumbers(show bool) bool {
	if v.session != nil {
		v.session.numbers.Store(show)
	}
	return v.session != nil
}

// session is one log-in.
type session struct {
	// token is what it was begun with: another one ends it.
	token   secret.Value
	ends    time.Time
	numbers atomic.Bool
}
