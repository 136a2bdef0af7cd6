package telemetry

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"golang.org/x/time/rate"
)

// What OpenTelemetry's libraries say of themselves is written so often at most:
// some of it comes with every batch.
const (
	errorInterval = time.Minute
	errorBurst    = 5
)

// handleErrors has what OpenTelemetry's libraries say of themselves go to log, where
// it is escaped and masked as everything is; by themselves they write to standard
// error. They know one place for the whole process.
func handleErrors(log *slog.Logger) {
	limit := rate.NewLimiter(rate.Every(errorInterval), errorBurst)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		if limit.Allow() {
			log.Warn("telemetry", "error", err)
		}
	}))
	otel.SetLogger(logr.FromSlogHandler(&libraryHandler{next: log.Handler(), limit: limit}))
}

// libraryWarning is the level that package otel's verbosity of a warning, 1, has in
// slog; what is below tells of what goes well.
const libraryWarning = slog.Level(-1)

// libraryHandler writes warnings and errors of the libraries as warnings of ours.
type libraryHandler struct {
	next  slog.Handler
	limit *rate.Limiter
}

func (h *libraryHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= libraryWarning && h.next.Enabled(ctx, slog.LevelWarn)
}

func (h *libraryHandler) Handle(ctx context.Context, r slog.Record) error {
	if !h.limit.Allow() {
		return nil
	}
	warning := slog.NewRecord(r.Time, slog.LevelWarn, "telemetry: "+r.Message, 0)
	r.Attrs(func(a slog.Attr) bool {
		warning.AddAttrs(a)
		return true
	})
	return h.next.Handle(ctx, warning)
}

func (h *libraryHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &libraryHandler{next: h.next.WithAttrs(attrs), limit: h.limit}
}

func (h *libraryHandler) WithGroup(name string) slog.Handler {
	return &libraryHandler{next: h.next.WithGroup(name), limit: h.limit}
}
