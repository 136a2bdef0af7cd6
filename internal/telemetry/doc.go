// Package telemetry makes what the connector is watched by: its log and its
// metrics. Nothing in it is global: the environment comes in as a function, and
// loggers and meters are handed on as arguments.
//
// # Log
//
// [NewLogger] makes a [log/slog] logger that writes one line a record: JSON, or
// on a terminal text for people. Whatever a peer sent comes out escaped and
// within a bound, so that no call can forge a line or drive a terminal.
//
// Customers' numbers are masked by the attribute's key, in any group: number,
// e164, phone, customer, caller and callee hold a number; raw, query and body
// hold text with a number somewhere in it. Whoever logs a number uses one of
// these keys, and puts none into a message or an error.
//
// # Metrics
//
// [Setup] makes OpenTelemetry meters whose instruments Prometheus can scrape at
// [Telemetry.Handler]. Names are translated as OpenTelemetry's rules for
// Prometheus have it: callpop.sink.delivery.duration, in seconds, becomes
// callpop_sink_delivery_duration_seconds. The limit on the number of series of
// one instrument is [MaxSeries].
//
// The standard environment is honoured: OTEL_SDK_DISABLED, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES.
package telemetry
