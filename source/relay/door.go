package relay

import (
	"log/slog"
	"net/netip"
	"sync"
	"time"
)

// Reasons to turn a desktop away, for logs and a metric's label: the keys of the
// configuration that say so.
const (
	refusedByAllow      = "allow"
	refusedByMax        = "max_clients"
	refusedByPerAddress = "max_clients_per_address"
)

// door decides who may come in, and counts who is.
type door struct {
	mu              sync.Mutex     // guards what follows
	allow           []netip.Prefix // empty: everyone
	max, perAddress int
	inside          int
	byAddress       map[netip.Addr]int
}

// change sets who may come in from now on; nobody is put out.
func (d *door) change(allow []netip.Prefix, most, perAddress int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.allow, d.max, d.perAddress = allow, most, perAddress
}

// enter takes a place for a client from address, which is not mapped. A reason
// means that it may not come in; else leave gives the place back.
func (d *door) enter(address netip.Addr) (reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.allows(address):
		return refusedByAllow
	case d.inside >= d.max:
		return refusedByMax
	case d.byAddress[address] >= d.perAddress:
		return refusedByPerAddress
	}
	d.inside++
	d.byAddress[address]++
	return ""
}

func (d *door) allows(address netip.Addr) bool {
	for _, prefix := range d.allow {
		if prefix.Contains(address.WithZone("")) {
			return true
		}
	}
	return len(d.allow) == 0
}

func (d *door) leave(address netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside--
	if d.byAddress[address]--; d.byAddress[address] == 0 {
		delete(d.byAddress, address)
	}
}

func (d *door) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inside
}

// refusalPause is how long refusals for one reason are only counted after one was
// logged: a desktop that is turned away tries again and again. The line says how
// many others there were since the last one.
const refusalPause = time.Minute

// refusals logs who is turned away, at most one line a minute for each reason. Only
// the accepting goroutine uses it.
type refusals struct {
	log    *slog.Logger
	since  map[string]time.Time
	silent map[string]int
}

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{log: log, since: map[string]time.Time{}, silent: map[string]int{}}
}

func (r *refusals) note(reason string, address netip.Addr, now time.Time) {
	if at, ok := r.since[reason]; ok && now.Sub(at) < refusalPause {
		r.silent[reason]++
		return
	}
	r.log.Warn("desktop turned away", "reason", reason, "client", address, "others", r.silent[reason])
	r.since[reason], r.silent[reason] = now, 0
}

// take takes a place for a client that is in already, whatever the limits.
func (d *door) take(address netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inside++
	d.byAddress[address]++
}
