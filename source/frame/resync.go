package frame

// Resync says that bytes are missing between what was written so far and what will
// be written next. The unfinished frame is given up (take its [Decoder.Rest]
// before: no byte of it is handed out any more), framing counts as lost, and
// everything before the next heartbeat becomes [Skipped]. Frames that were whole
// before are those that Next has handed out: call it until it returns false first.
func (d *Decoder) Resync() {
	d.start, d.end = 0, 0
	d.state = lost
}
