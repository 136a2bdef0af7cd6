package sink

// HeaderReplay marks a message that a replay sent, on NATS and on Kafka alike; its
// value names the replay. All other headers, and the body, are those of the first
// delivery.
const HeaderReplay = "callpop-replay"

// MessageID is what a broker may know a repeated message by: the event's id, so
// that a retry is dropped, and for a replay "<id>.replay.<replay>", so that it is
// not.
func MessageID(r *Record) string {
	if r.Replay == "" {
		return r.ID
	}
	return r.ID + ".replay." + r.Replay
}
