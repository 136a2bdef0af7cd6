package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/credentials"
)

// collector is where one signal goes: the configuration, without what the
// environment says otherwise. The exporters read the environment by themselves;
// an option would win over it, so that none is given for what is set there.
type collector struct {
	protocol    string
	endpoint    string // empty: the environment's
	headers     map[string]string
	compression string
	timeout     time.Duration
	tls         *tls.Config
}

func newCollector(c OTLP, getenv environment, s signal) (collector, error) {
	var to collector
	var err error
	if to.protocol, err = getenv.protocol(s, c.Protocol); err != nil {
		return to, err
	}
	if err := getenv.readable(s, to.protocol); err != nil {
		return to, err
	}
	if !getenv.set(s, "ENDPOINT") {
		to.endpoint = endpoint(c.Endpoint, to.protocol, s)
	}
	if !getenv.set(s, "HEADERS") {
		if to.headers, err = parseHeaders(c.Headers.Reveal()); err != nil {
			return to, fmt.Errorf("telemetry.otlp.headers: %w", err)
		}
	}
	if !getenv.set(s, "COMPRESSION") {
		to.compression = c.Compression
	}
	if !getenv.set(s, "TIMEOUT") {
		to.timeout = c.Timeout
	}
	if !getenv.set(s, "CERTIFICATE") && !getenv.set(s, "CLIENT_CERTIFICATE") {
		to.tls, err = c.TLS.load("telemetry.otlp.tls.ca_file", "telemetry.otlp.tls.cert_file")
	}
	return to, err
}

// endpoint is the URL of a signal, whose path over HTTP is /v1/traces and so on
// below what is configured. Exporters without one would try https.
func endpoint(configured, protocol string, s signal) string {
	if protocol == ProtocolGRPC {
		if configured == "" {
			return "http://localhost:4317"
		}
		return configured
	}
	if configured == "" {
		configured = "http://localhost:4318"
	}
	return strings.TrimSuffix(configured, "/") + "/v1/" + string(s)
}

// load reads the files; nil where none is named. Its errors begin with the name of
// the authorities' file or of the pair's.
func (c TLS) load(authorities, pair string) (*tls.Config, error) {
	if c == (TLS{}) {
		return nil, nil
	}
	made := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", authorities, err)
		}
		made.RootCAs = x509.NewCertPool()
		if !made.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s: %s holds no certificate in PEM", authorities, c.CAFile)
		}
	}
	if c.CertFile != "" {
		own, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pair, err)
		}
		made.Certificates = []tls.Certificate{own}
	}
	return made, nil
}

// options puts together the options of an exporter of type O; plain is the one for
// no compression, where there is one: gRPC has none by itself.
func options[O any](c collector, url func(string) O, headers func(map[string]string) O,
	timeout func(time.Duration) O, security func(*tls.Config) O, gzip O, plain ...O,
) (all []O) {
	if c.endpoint != "" {
		all = append(all, url(c.endpoint))
	}
	if len(c.headers) > 0 {
		all = append(all, headers(c.headers))
	}
	switch c.compression {
	case compressionGzip:
		all = append(all, gzip)
	case compressionNone:
		all = append(all, plain...)
	}
	if c.timeout > 0 {
		all = append(all, timeout(c.timeout))
	}
	if c.tls != nil {
		all = append(all, security(c.tls))
	}
	return all
}

func (c collector) traces(ctx context.Context) (sdktrace.SpanExporter, error) {
	if c.protocol == ProtocolGRPC {
		return otlptracegrpc.New(ctx, options(c, otlptracegrpc.WithEndpointURL, otlptracegrpc.WithHeaders, otlptracegrpc.WithTimeout,
			func(t *tls.Config) otlptracegrpc.Option {
				return otlptracegrpc.WithTLSCredentials(credentials.NewTLS(t))
			}, otlptracegrpc.WithCompressor(compressionGzip))...)
	}
	return otlptracehttp.New(ctx, options(c, otlptracehttp.WithEndpointURL, otlptracehttp.WithHeaders, otlptracehttp.WithTimeout,
		otlptracehttp.WithTLSClientConfig, otlptracehttp.WithCompression(otlptracehttp.GzipCompression), otlptracehttp.WithCompression(otlptracehttp.NoCompression))...)
}

func (c collector) metrics(ctx context.Context) (sdkmetric.Exporter, error) {
	if c.protocol == ProtocolGRPC {
		return otlpmetricgrpc.New(ctx, options(c, otlpmetricgrpc.WithEndpointURL, otlpmetricgrpc.WithHeaders, otlpmetricgrpc.WithTimeout,
			func(t *tls.Config) otlpmetricgrpc.Option {
				return otlpmetricgrpc.WithTLSCredentials(credentials.NewTLS(t))
			}, otlpmetricgrpc.WithCompressor(compressionGzip))...)
	}
	return otlpmetrichttp.New(ctx, options(c, otlpmetrichttp.WithEndpointURL, otlpmetrichttp.WithHeaders, otlpmetrichttp.WithTimeout,
		otlpmetrichttp.WithTLSClientConfig, otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression), otlpmetrichttp.WithCompression(otlpmetrichttp.NoCompression))...)
}

func (c collector) logs(ctx context.Context) (sdklog.Exporter, error) {
	if c.protocol == ProtocolGRPC {
		return otlploggrpc.New(ctx, options(c, otlploggrpc.WithEndpointURL, otlploggrpc.WithHeaders, otlploggrpc.WithTimeout,
			func(t *tls.Config) otlploggrpc.Option {
				return otlploggrpc.WithTLSCredentials(credentials.NewTLS(t))
			}, otlploggrpc.WithCompressor(compressionGzip))...)
	}
	return otlploghttp.New(ctx, options(c, otlploghttp.WithEndpointURL, otlploghttp.WithHeaders, otlploghttp.WithTimeout,
		otlploghttp.WithTLSClientConfig, otlploghttp.WithCompression(otlploghttp.GzipCompression), otlploghttp.WithCompression(otlploghttp.NoCompression))...)
}
