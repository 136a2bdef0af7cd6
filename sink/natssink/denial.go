package natssink

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
)

// A server that forbids a subject says so on the connection and not in answer to
// the message, which simply gets none. So what it says is kept, and those who wait
// for an answer look it up.

// deniedSubject finds the subject in what a server says, such as
//
//	Permissions Violation for Publish to "callpop.v1.hq.801"
//	Permissions Violation for Subscription to "_INBOX.abc.*"
var deniedSubject = regexp.MustCompile(`Permissions Violation for (Publish|Subscription) to "([^"]+)"`)

// maxDenials bounds what is kept: one for each subject of a window is plenty.
const maxDenials = 4096

// fault is told of what nats.go cannot tell a caller.
func (l *link) fault(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		l.log.Debug("nats", slog.String("error", err.Error()))
		return
	}
	match := deniedSubject.FindStringSubmatch(err.Error())
	if match == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.denials) >= maxDenials {
		clear(l.denials)
	}
	l.denials[denialKey(match[1] == "Subscription", match[2])] = time.Now()
	close(l.denied)
	l.denied = make(chan struct{})
}

// denialKey tells denials to subscribe, all one, from those to publish.
func denialKey(subscription bool, subject string) string {
	if subscription {
		return "subscribe"
	}
	return "publish " + subject
}

// denial returns an error if a subject was denied since a time, or the subjects on
// which the server answers at any time on this connection. The channel is closed
// at the next denial.
func (l *link) denial(subject string, since time.Time) (denied <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.denials[denialKey(true, "")]; ok {
		return l.denied, fmt.Errorf("%w to subscribe to the inbox, on which the server acknowledges", ErrNoPermission)
	}
	if at, ok := l.denials[denialKey(false, subject)]; ok && !at.Before(since) {
		return l.denied, fmt.Errorf("%w to publish to it", ErrNoPermission)
	}
	return l.denied, nil
}
