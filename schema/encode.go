package schema

import "strconv"

// AppendJSON appends the event's body and returns the extended buffer. The bytes
// are those of encoding/json with SetEscapeHTML(false) and without its newline.
// Nothing is allocated but room in dst (and, for a map of more than 16 entries,
// its sorted keys).
//
// Where encoding/json would fail, on a time whose year has not four digits or
// whose zone is a day or more from UTC, call.started_at is left out and
// received_at is the zero time.
func (p *CallPop) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendString(dst, p.ID)
	dst = append(dst, `,"fingerprint":"`...)
	dst = appendString(dst, p.Fingerprint)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, int64(p.Version), 10)
	dst = append(dst, `,"key":"`...)
	dst = appendString(dst, p.Key)
	dst = append(dst, `,"server":"`...)
	dst = appendString(dst, p.Server)
	dst = append(dst, ',')
	if p.Agent != (Agent{}) {
		dst = append(dst, `"agent":{`...)
		dst = appendKnown(dst, `"id":"`, p.Agent.ID)
		dst = appendKnown(dst, `"channel":"`, p.Agent.Channel)
		dst = append(appendEnd(dst), ',')
	}
	if p.Pop != (PopKind{}) {
		dst = append(dst, `"pop":{`...)
		dst = appendKnown(dst, `"mode":"`, string(p.Pop.Mode))
		dst = append(dst, `"code":`...)
		dst = strconv.AppendInt(dst, int64(p.Pop.Code), 10)
		dst = append(dst, `},`...)
	}
	dst = appendKnown(dst, `"direction":"`, string(p.Direction))
	dst = appendCall(dst, &p.Call)
	if p.Customer != (Customer{}) {
		dst = append(dst, `"customer":{`...)
		dst = appendKnown(dst, `"number":"`, p.Customer.Number)
		dst = appendKnown(dst, `"e164":"`, p.Customer.E164)
		dst = append(appendEnd(dst), ',')
	}
	if !p.IVR.IsZero() {
		dst = append(dst, `"ivr":{`...)
		dst = appendKnown(dst, `"keys":"`, p.IVR.Keys)
		dst = appendKnown(dst, `"member":"`, p.IVR.Member)
		dst = appendKnown(dst, `"data":"`, p.IVR.Data)
		if len(p.IVR.Fields) > 0 {
			dst = append(dst, `"fields":`...)
			dst = append(appendMap(dst, p.IVR.Fields), ',')
		}
		dst = append(appendEnd(dst), ',')
	}
	dst = append(dst, `"format":"`...)
	dst = appendString(dst, string(p.Format))
	dst = append(dst, ',')
	dst = appendKnown(dst, `"declared_format":"`, p.DeclaredFormat)
	if p.Truncated {
		dst = append(dst, `"truncated":true,`...)
	}
	if len(p.Extra) > 0 {
		dst = append(dst, `"extra":`...)
		dst = append(appendMap(dst, p.Extra), ',')
	}
	dst = append(dst, `"raw":"`...)
	dst = appendString(dst, p.Raw)
	dst = append(dst, ',')
	dst = appendKnown(dst, `"raw_base64":"`, p.RawBase64)
	dst = appendSource(dst, &p.Source)
	dst = append(dst, `,"received_at":"`...)
	dst = appendRequiredTime(dst, p.ReceivedAt)
	return append(dst, '}')
}

// AppendJSON appends the event's body and returns the extended buffer, as
// [CallPop.AppendJSON] does. A time that RFC 3339 cannot say becomes the zero
// time.
func (s *SessionChanged) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendString(dst, s.ID)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, int64(s.Version), 10)
	dst = append(dst, `,"server":"`...)
	dst = appendString(dst, s.Server)
	dst = append(dst, ',')
	dst = appendKnown(dst, `"agent":"`, s.Agent)
	dst = append(dst, `"state":"`...)
	dst = appendString(dst, string(s.State))
	dst = append(dst, `,"ocx_code":`...)
	dst = strconv.AppendInt(dst, int64(s.OCXCode), 10)
	dst = append(dst, ',')
	dst = appendKnown(dst, `"cause":"`, s.Cause)
	dst = append(dst, `"at":"`...)
	dst = appendRequiredTime(dst, s.At)
	dst = append(dst, ',')
	if s.Gap != nil {
		dst = append(dst, `"gap":{"from":"`...)
		dst = appendRequiredTime(dst, s.Gap.From)
		dst = append(dst, `,"to":"`...)
		dst = appendRequiredTime(dst, s.Gap.To)
		dst = append(dst, `},`...)
	}
	dst = appendSource(dst, &s.Source)
	return append(dst, '}')
}

// AppendJSON appends the event's body and returns the extended buffer, as
// [CallPop.AppendJSON] does. A time that RFC 3339 cannot say becomes the zero
// time.
func (d *DeadLetter) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendString(dst, d.ID)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendInt(dst, int64(d.Version), 10)
	dst = append(dst, `,"server":"`...)
	dst = appendString(dst, d.Server)
	dst = append(dst, ',')
	dst = appendKnown(dst, `"agent":"`, d.Agent)
	dst = append(dst, `"reason":"`...)
	dst = appendString(dst, d.Reason)
	dst = append(dst, ',')
	dst = appendKnown(dst, `"detail":"`, d.Detail)
	dst = appendKnown(dst, `"raw":"`, d.Raw)
	dst = appendKnown(dst, `"raw_base64":"`, d.RawBase64)
	dst = append(dst, `"received_at":"`...)
	dst = appendRequiredTime(dst, d.ReceivedAt)
	dst = append(dst, ',')
	dst = appendSource(dst, &d.Source)
	dst = append(dst, ',')
	dst = appendKnown(dst, `"sink":"`, d.Sink)
	if len(d.Headers) > 0 {
		dst = append(dst, `"headers":`...)
		dst = append(appendMap(dst, d.Headers), ',')
	}
	return appendEnd(dst)
}

// appendCall appends the field call and a comma, unless c is zero. Where c is the
// zero time in some zone and nothing else, its braces are empty: encoding/json
// has it so.
func appendCall(dst []byte, c *Call) []byte {
	if *c == (Call{}) {
		return dst
	}
	dst = append(dst, `"call":{`...)
	dst = appendKnown(dst, `"sn":"`, c.SN)
	dst = appendKnown(dst, `"id":"`, c.ID)
	if c.IDDerived {
		dst = append(dst, `"id_derived":true,`...)
	}
	dst = appendKnown(dst, `"line":"`, c.Line)
	if !c.StartedAt.IsZero() {
		before := len(dst)
		dst = append(dst, `"started_at":"`...)
		var ok bool
		if dst, ok = appendTime(dst, c.StartedAt); ok {
			dst = append(dst, ',')
		} else {
			dst = dst[:before]
		}
	}
	dst = appendKnown(dst, `"transferred_from":"`, c.TransferredFrom)
	return append(appendEnd(dst), ',')
}

// appendSource appends the field source.
func appendSource(dst []byte, s *Source) []byte {
	dst = append(dst, `"source":{"type":"`...)
	dst = appendString(dst, s.Type)
	dst = append(dst, `,"name":"`...)
	dst = appendString(dst, s.Name)
	dst = append(dst, ',')
	dst = appendKnown(dst, `"agent":"`, s.Agent)
	return appendEnd(dst)
}
