package web

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// publicLimits suit browsers: each may hold a stream for days, which the handler
// takes out of the times here, and a few short requests beside.
func publicLimits(streams int) limits {
	return limits{
		connections:   streams + streams/4 + 64,
		headerBytes:   16 << 10,
		headerTimeout: 5 * time.Second,
		readTimeout:   10 * time.Second,
		writeTimeout:  30 * time.Second,
		idleTimeout:   30 * time.Second,
		stopTimeout:   3 * time.Second,
		// A laptop that was closed holds its stream no longer than this.
		userTimeout: 30 * time.Second,
	}
}

// ListenPublic takes the address of http.public for handler; connections wait until
// Serve. Where the address is empty it takes none, and Serve only waits. streams is
// how many long-lasting requests there may be at once. The handler decides who may
// read. The error names key, address and cause, and wraps the cause.
func ListenPublic(ctx context.Context, c Config, handler http.Handler, streams int, log *slog.Logger, options ...Option) (*Listener, error) {
	return listen(ctx, "http.public", c.Public, c.PublicTLS, private(handler), log, publicLimits(streams), options...)
}

// PublicInClear reports whether http.public is on a network, and without TLS:
// tokens and customers' numbers then pass in clear.
func (c Config) PublicInClear() bool {
	name, err := host(c.Public)
	return c.Public != "" && err == nil && !isLoopback(name) && c.PublicTLS.CertFile == ""
}
