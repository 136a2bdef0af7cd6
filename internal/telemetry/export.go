package telemetry

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/callpop/connector/internal/secret"
)

// Export is the configuration of what goes to a collector. The standard environment
// of OpenTelemetry (OTEL_TRACES_EXPORTER, OTEL_EXPORTER_OTLP_ENDPOINT and so on)
// wins over it, as every variable does over the file.
type Export struct {
	Traces  Traces  `koanf:"traces"`
	Metrics Metrics `koanf:"metrics"`
	Logs    Logs    `koanf:"logs"`
	OTLP    OTLP    `koanf:"otlp"`
}

// Traces says what becomes of traces.
type Traces struct {
	// Exporter is none, otlp or console.
	Exporter string `koanf:"exporter"`
	// Sample is the share of the events that are traced, from 0 to 1.
	Sample float64 `koanf:"sample"`
}

// Metrics says what becomes of metrics, beside being there for Prometheus.
type Metrics struct {
	// Exporter is none, otlp or console.
	Exporter string `koanf:"exporter"`
	// Interval is how often they are sent.
	Interval time.Duration `koanf:"interval"`
}

// Logs says what becomes of log lines, beside being written.
type Logs struct {
	// Exporter is none or otlp.
	Exporter string `koanf:"exporter"`
}

// OTLP says where the collector is, and how to speak to it.
type OTLP struct {
	// Endpoint is the collector's URL; http is without TLS. Empty is this machine,
	// on the protocol's port.
	Endpoint string `koanf:"endpoint"`
	// Protocol is http/protobuf or grpc.
	Protocol string `koanf:"protocol"`
	// Headers go with each request: name=value, joined by commas, values
	// percent-encoded (OTEL_EXPORTER_OTLP_HEADERS).
	Headers secret.Value `koanf:"headers"`
	// Compression is gzip or none.
	Compression string `koanf:"compression"`
	// Timeout bounds one request.
	Timeout time.Duration `koanf:"timeout"`
	TLS     TLS           `koanf:"tls"`
}

// TLS names the files for an https endpoint.
type TLS struct {
	// CAFile holds who may have signed the collector's certificate; empty: the
	// system's authorities.
	CAFile string `koanf:"ca_file"`
	// CertFile and KeyFile are our certificate and key, where the collector asks for
	// them.
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
}

// What may become of a signal.
const (
	ExporterNone    = "none"
	ExporterOTLP    = "otlp"
	ExporterConsole = "console"
)

// The protocols, by their standard names.
const (
	ProtocolHTTP = "http/protobuf"
	ProtocolGRPC = "grpc"
)

const (
	compressionGzip = "gzip"
	compressionNone = "none"
)

// DefaultExport sends nothing.
func DefaultExport() Export {
	return Export{
		Traces:  Traces{Exporter: ExporterNone, Sample: 1},
		Metrics: Metrics{Exporter: ExporterNone, Interval: time.Minute},
		Logs:    Logs{Exporter: ExporterNone},
		OTLP:    OTLP{Protocol: ProtocolHTTP, Compression: compressionGzip, Timeout: 10 * time.Second},
	}
}

// Bounds of what can be set.
const (
	minInterval, maxInterval = time.Second, time.Hour
	minTimeout, maxTimeout   = 100 * time.Millisecond, time.Minute
)

// Validate reports everything that is wrong with e, each with its key, its value
// and what was expected. Files are read when the exporters are made.
func (e Export) Validate() error {
	var errs []error
	expect := func(ok bool, key string, value any, expected string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %v: expected %s", key, value, expected))
		}
	}
	exporter := func(key, value string, known ...string) {
		expect(slices.Contains(known, value), key, quoted(value), choice(known))
	}
	exporter("traces.exporter", e.Traces.Exporter, ExporterNone, ExporterOTLP, ExporterConsole)
	expect(e.Traces.Sample >= 0 && e.Traces.Sample <= 1, "traces.sample", e.Traces.Sample, "a share from 0 to 1, such as 0.01")
	exporter("metrics.exporter", e.Metrics.Exporter, ExporterNone, ExporterOTLP, ExporterConsole)
	expect(e.Metrics.Interval >= minInterval && e.Metrics.Interval <= maxInterval, "metrics.interval", e.Metrics.Interval,
		fmt.Sprintf("%v to %v", minInterval, maxInterval))
	exporter("logs.exporter", e.Logs.Exporter, ExporterNone, ExporterOTLP)

	o := e.OTLP
	expect(o.Endpoint == "" || isEndpoint(o.Endpoint), "otlp.endpoint", redactURL(o.Endpoint),
		"a URL such as http://localhost:4318, without user and query")
	expect(slices.Contains([]string{ProtocolHTTP, ProtocolGRPC}, o.Protocol), "otlp.protocol", quoted(o.Protocol), ProtocolHTTP+" or "+ProtocolGRPC)
	expect(slices.Contains([]string{compressionGzip, compressionNone}, o.Compression), "otlp.compression", quoted(o.Compression), "gzip or none")
	expect(o.Timeout >= minTimeout && o.Timeout <= maxTimeout, "otlp.timeout", o.Timeout, fmt.Sprintf("%v to %v", minTimeout, maxTimeout))
	if _, err := parseHeaders(o.Headers.Reveal()); err != nil {
		errs = append(errs, fmt.Errorf("otlp.headers: %w", err))
	}
	expect((o.TLS.CertFile == "") == (o.TLS.KeyFile == ""), "otlp.tls.cert_file", quoted(o.TLS.CertFile), "key_file beside it, or neither")
	return errors.Join(errs...)
}

func quoted(value string) string { return fmt.Sprintf("%q", value) }

// choice writes none, otlp or console.
func choice(known []string) string {
	last := len(known) - 1
	return strings.Join(known[:last], ", ") + " or " + known[last]
}

// isEndpoint refuses what would end up in logs, such as a password, and what cannot
// be dialled.
func isEndpoint(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		u.RawQuery == "" && u.Fragment == ""
}

// redactURL shows an endpoint that is wrong, without what may be a secret in it.
func redactURL(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.User == nil && u.RawQuery == "" && !strings.Contains(endpoint, "@") {
		return quoted(endpoint)
	}
	return "[redacted]"
}

// parseHeaders reads name=value pairs, joined by commas, with percent-encoded
// values. No error shows a value.
func parseHeaders(list string) (map[string]string, error) {
	headers := map[string]string{}
	for pair := range strings.SplitSeq(list, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if !found || !isHeaderName(name) {
			return nil, errHeaders
		}
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if err != nil || strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' || r == 0x7F }) {
			return nil, errHeaders
		}
		headers[name] = decoded
	}
	return headers, nil
}

var errHeaders = errors.New("expected name=value pairs joined by commas, with percent-encoded values")

// isHeaderName reports whether name, in lower case, is a token of RFC 9110.
func isHeaderName(name string) bool {
	const known = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"
	return name != "" && strings.Trim(name, known) == ""
}
