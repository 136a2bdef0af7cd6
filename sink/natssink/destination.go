package natssink

import (
	"net/url"
	"strconv"
	"strings"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// defaultPort is where NATS servers listen, and where nats.go connects to without
// a port.
const defaultPort = 4222

// Destination says where events of a type go; see [sink.Located]. Of several
// servers it names the first; each publish notes the one that it went to.
func (s *Sink) Destination(t schema.Type) sink.Destination {
	d := sink.Destination{System: "nats", Subjects: true}
	if r := s.routes[t]; r != nil {
		d.Name = r.subject
	}
	first, _, _ := strings.Cut(s.config.URL, ",")
	d.Address, d.Port = hostPort(strings.TrimSpace(first))
	return d
}

// hostPort reads a server's URL, with or without a scheme.
func hostPort(server string) (host string, port int) {
	if !strings.Contains(server, "://") {
		server = "nats://" + server
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", 0
	}
	if port, err = strconv.Atoi(u.Port()); err != nil {
		port = defaultPort
	}
	return u.Hostname(), port
}

// trace notes on a record's span which server it goes to.
func (a *attempt) trace(r *sink.Record) {
	if r.Span == nil {
		return
	}
	if host, port := hostPort(a.session.nc.ConnectedUrlRedacted()); host != "" {
		r.Span.SetAttributes(semconv.ServerAddress(host), semconv.ServerPort(port))
	}
}
