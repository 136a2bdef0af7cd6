// Package consume reads the connector's events on the consumer's side, whichever
// broker carried them.
//
//	d, err := consume.FromNATS(msg.Headers(), msg.Data())
//	d, err := consume.FromKafka(headers, msg.Value) // yields Key, Value of each header
//
// A [Delivery] has been checked against the JSON Schema of its type and holds one
// of the three bodies. What is wrong with a message is [ErrInvalid]: it will be so
// at every delivery, and belongs aside. An event of a type that this version does
// not know is [ErrUnknownType]: a consumer lets it pass.
//
// Every event is delivered at least once, and repeats carry the same id.
// [Once] with a [Window] handles each once: [NewMemory] for a single process,
// package kvwindow for replicas that share a JetStream bucket.
//
// The package needs neither broker's client: a nats.Header is the map that
// [FromNATS] takes, and a loop over kafka-go's headers is the sequence that
// [FromKafka] takes.
package consume
