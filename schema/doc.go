// Package schema is the public contract of the connector: the events it
// publishes, their JSON bodies, their CloudEvents attributes, and the subjects
// and topics they go to. Consumers import it; it needs the standard library
// only.
//
// Three kinds of event leave the connector:
//
//   - [CallPop], one for each screen-pop that was read (type callpop.v1);
//   - [SessionChanged], one for each change of an agent's session between up
//     and down (type callpop.session.v1);
//   - [DeadLetter], one for each thing that could not become or stay an event,
//     with its bytes and the reason (type callpop.dlq.v1).
//
// In every body an absent field means "unknown"; nothing is ever an empty
// string. Additions keep version 1. A removal, a rename or a change of meaning
// makes version 2, with its own subject and topic. The golden files in
// testdata freeze version 1.
//
// An event is encoded once, into [Event].Body, before it is stored; whatever
// carries it later, NATS or Kafka, carries those same bytes. Its headers are those
// of CloudEvents 1.0 in binary mode. A consumer gives them to [FromNATSHeaders] or
// [FromKafkaHeaders] and decodes the body by its type with encoding/json.
package schema
