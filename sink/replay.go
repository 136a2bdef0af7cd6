package sink

// MessageID is what a broker may know a repeated message by: the event's id, so
// that a retry is dropped, and for a replay "<id>.replay.<replay>", so that it is
// not.
func MessageID(r *Record) string {
	if r.Replay == "" {
		return r.ID
	}
	return r.ID + ".replay." + r.Replay
}
