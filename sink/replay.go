package sink

// MessageID is what a broker may know a repeated message by: the event's id, so
// that a retry is dropped; "overlap.<fingerprint>" where another replica may have
// received the pop too, so that its copy is dropped; and for a replay
// "<id>.replay.<replay>", so that it is not.
func MessageID(r *Record) string {
	switch {
	case r.Replay != "":
		return r.ID + ".replay." + r.Replay
	case r.Overlap != "":
		return "overlap." + r.Overlap
	default:
		return r.ID
	}
}
