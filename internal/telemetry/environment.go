package telemetry

import (
	"fmt"
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
// does not read, such as batch delays, attribute limits and the files of
// certificates, the SDK and its exporters take from the process by themselves.
type environment func(name string) string

func (getenv environment) value(name string) string { return strings.TrimSpace(getenv(name)) }

// set reports whether one of a signal's OTLP variables is set: its own, or that of
// all signals.
func (getenv environment) set(s signal, name string) bool {
	return getenv.otlp(s, name) != ""
}

func (getenv environment) otlp(s signal, name string) string {
	if own := getenv.value("OTEL_EXPORTER_OTLP_" + strings.ToUpper(string(s)) + "_" + name); own != "" {
		return own
	}
	return getenv.value("OTEL_EXPORTER_OTLP_" + name)
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
	case !oneOf(value, known...):
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
