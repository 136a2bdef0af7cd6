// Package collectortest runs the real OpenTelemetry Collector for tests, and reads
// what it received over OTLP.
//
// The collector is built by .ci/collector from the Go modules that otelcol/go.mod
// pins, a module of its own, so that nothing of it becomes a dependency of the
// connector. Where it was not built, a test is skipped with a line that says so;
// with CI=true it fails instead.
package collectortest
