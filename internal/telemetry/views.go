package telemetry

import sdkmetric "go.opentelemetry.io/otel/sdk/metric"

// views give histograms bounds that fit what they measure, in seconds. The SDK's
// own (0, 5, 10, 25 …) are meant for milliseconds and would put everything into
// one.
func views() []sdkmetric.View {
	return []sdkmetric.View{
		// Ours: from 50 µs, since a heartbeat is answered and a pop is stored in
		// tenths of a millisecond, to half an hour, as an event waits for a broker
		// that is away.
		histogram("callpop.*.duration",
			.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
			30, 60, 300, 1800),
		// What OpenTelemetry's conventions recommend.
		histogram("messaging.client.operation.duration",
			.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10),
	}
}

func histogram(name string, bounds ...float64) sdkmetric.View {
	return sdkmetric.NewView(
		sdkmetric.Instrument{Name: name, Kind: sdkmetric.InstrumentKindHistogram},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: bounds}},
	)
}
