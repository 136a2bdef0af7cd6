package telemetry

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// signal is one of the three, by the name in variables and messages.
type signal string

const (
	traces  signal = "traces"
	metrics signal = "metrics"
	logs    signal = "logs"
)

// environment is the standard environment of OpenTelemetry (specification,
// "Environment Variable Specification" and "OTLP Exporter Configuration"). What it
// does not read, such as batch delays and attribute limits, the SDK takes from the
// process by itself.
type environment func(name string) string

func (getenv environment) value(name string) string { return strings.TrimSpace(getenv(name)) }

// OTLP's variables for all signals begin with otlpPrefix, those of one with prefix.
const otlpPrefix = "OTEL_EXPORTER_OTLP_"

func (s signal) prefix() string { return otlpPrefix + strings.ToUpper(string(s)) + "_" }

// otlp is one of a signal's OTLP variables: its own, or else that of all signals.
func (getenv environment) otlp(s signal, name string) string {
	if own := getenv.value(s.prefix() + name); own != "" {
		return own
	}
	return getenv.value(otlpPrefix + name)
}

// set reports whether one of a signal's OTLP variables is.
func (getenv environment) set(s signal, name string) bool { return getenv.otlp(s, name) != "" }

// readable checks what a signal's exporter reads by itself: it would go on without
// what it cannot read, and write it to the log, keys and passwords too.
func (getenv environment) readable(s signal, protocol string) error {
	for _, prefix := range []string{otlpPrefix, s.prefix()} {
		if err := getenv.readableOf(prefix, protocol); err != nil {
			return err
		}
	}
	return nil
}

func (getenv environment) readableOf(prefix, protocol string) error {
	if v := getenv.value(prefix + "ENDPOINT"); v != "" && !isEndpoint(v) && (protocol != ProtocolGRPC || !isTarget(v)) {
		return fmt.Errorf("%sENDPOINT: %s: expected a URL such as http://collector:4318, without user and query", prefix, redactURL(v))
	}
	if _, err := parseHeaders(getenv.value(prefix + "HEADERS")); err != nil {
		return fmt.Errorf("%sHEADERS: %w", prefix, err)
	}
	if v := getenv.value(prefix + "COMPRESSION"); v != "" && v != compressionGzip && v != compressionNone {
		return fmt.Errorf("%sCOMPRESSION: %q: expected gzip or none", prefix, v)
	}
	if v := getenv.value(prefix + "INSECURE"); v != "" && !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
		return fmt.Errorf("%sINSECURE: %q: expected true or false", prefix, v)
	}
	if v := getenv.value(prefix + "TIMEOUT"); v != "" {
		if ms, err := strconv.Atoi(v); err != nil || ms < 1 {
			return fmt.Errorf("%sTIMEOUT: %q: expected a number of milliseconds", prefix, v)
		}
	}
	files := TLS{
		CAFile: getenv.value(prefix + "CERTIFICATE"), CertFile: getenv.value(prefix + "CLIENT_CERTIFICATE"), KeyFile: getenv.value(prefix + "CLIENT_KEY"),
	}
	_, err := files.load(prefix+"CERTIFICATE", prefix+"CLIENT_CERTIFICATE")
	return err
}

// isTarget reports whether a text can be what gRPC dials, such as dns:///collector:4317
// or collector:4317.
func isTarget(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.User == nil && u.RawQuery == "" && !strings.Contains(text, "@")
}

// exporter says what becomes of a signal; configured where the environment does
// not say.
func (getenv environment) exporter(s signal, configured string) (string, error) {
	name := "OTEL_" + strings.ToUpper(string(s)) + "_EXPORTER"
	value := getenv.value(name)
	known := []string{ExporterNone, ExporterOTLP, ExporterConsole}
	if s == logs { // the log is on the console already
		known = known[:2]
	}
	switch {
	case value == "":
		return configured, nil
	case s == metrics && value == "prometheus": // they are at /metrics whatever else happens
		return ExporterNone, nil
	case !slices.Contains(known, value):
		return "", fmt.Errorf("%s: %q: expected %s", name, value, choice(known))
	default:
		return value, nil
	}
}

// protocol says how to speak to the collector.
func (getenv environment) protocol(s signal, configured string) (string, error) {
	switch value := getenv.otlp(s, "PROTOCOL"); value {
	case "":
		return configured, nil
	case ProtocolHTTP, ProtocolGRPC:
		return value, nil
	default:
		return "", fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL, for %s: %q: expected %s or %s", s, value, ProtocolHTTP, ProtocolGRPC)
	}
}

// sampler decides which traces have spans: that of OTEL_TRACES_SAMPLER, else the
// configured share of those that begin here.
func (getenv environment) sampler(share float64) (sdktrace.Sampler, error) {
	name := getenv.value("OTEL_TRACES_SAMPLER")
	if argument := getenv.value("OTEL_TRACES_SAMPLER_ARG"); name != "" && strings.HasSuffix(name, "traceidratio") {
		share = 1 // the specification's default
		if argument != "" {
			var err error
			if share, err = strconv.ParseFloat(argument, 64); err != nil || !(share >= 0 && share <= 1) {
				return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q: expected a share from 0 to 1", argument)
			}
		}
	}
	switch name {
	case "", "parentbased_traceidratio":
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(share)), nil
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(share), nil
	case "always_on":
		return sdktrace.AlwaysSample(), nil
	case "always_off":
		return sdktrace.NeverSample(), nil
	case "parentbased_always_on":
		return sdktrace.ParentBased(sdktrace.AlwaysSample()), nil
	case "parentbased_always_off":
		return sdktrace.ParentBased(sdktrace.NeverSample()), nil
	default:
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER: %q: expected always_on, always_off, traceidratio, "+
			"or one of them with parentbased_ before it", name)
	}
}

// count reads a positive number, with a default where it is not set.
func (getenv environment) count(name string, otherwise int) (int, error) {
	value := getenv.value(name)
	if value == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxQueue {
		return 0, fmt.Errorf("%s: %q: expected a number from 1 to %d", name, value, maxQueue)
	}
	return n, nil
}

// disabled reads OTEL_SDK_DISABLED, which the SDK itself does not.
func (getenv environment) disabled() (bool, error) {
	switch value := getenv.value("OTEL_SDK_DISABLED"); strings.ToLower(value) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	default:
		return false, fmt.Errorf("OTEL_SDK_DISABLED: %q: expected true or false", value)
	}
}
