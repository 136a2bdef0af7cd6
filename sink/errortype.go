package sink

import (
	"context"
	"errors"
)

// errorType is one of few words for what became of an attempt, whatever a broker
// says: a sink's own where its errors have one, else refused, timeout, or the
// conventions' _OTHER; empty for success.
func errorType(err error) string {
	var typed interface{ ErrorType() string }
	switch {
	case err == nil:
		return ""
	case errors.As(err, &typed):
		return typed.ErrorType()
	case IsPermanent(err):
		return "refused"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "_OTHER"
	}
}
