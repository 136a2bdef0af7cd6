package schema

// Key returns the key of a pop: the server's name, a slash, and the first of
// these that is known: sn, the call's serial number; id, the call's id, as
// received or derived; eventID, the event's own id. All pops of one call share
// it, so that they keep their order in one partition.
func Key(server, sn, id, eventID string) string {
	return server + "/" + callPart(sn, id, eventID)
}

// AppendKey appends what [Key] returns.
func AppendKey(dst []byte, server, sn, id, eventID string) []byte {
	dst = append(dst, server...)
	dst = append(dst, '/')
	return append(dst, callPart(sn, id, eventID)...)
}

func callPart(sn, id, eventID string) string {
	switch {
	case sn != "":
		return sn
	case id != "":
		return id
	default:
		return eventID
	}
}

// AgentKey returns the key of a [SessionChanged] or a [DeadLetter], which belong
// to no call: the server's name, a slash and the agent, or the server's name
// alone where the agent is not known. So one agent's changes keep their order.
func AgentKey(server, agent string) string {
	if agent == "" {
		return server
	}
	return server + "/" + agent
}
