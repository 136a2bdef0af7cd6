package spool

import (
	"slices"
	"strings"
	"testing"

	"github.com/callpop/connector/schema"
)

func TestASuspendedSpoolIsAnothersAndGoesOnWithWhatThatOneWrote(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, testOptions(dir))
	if err := s.Resume(testContext(t)); err == nil || !strings.Contains(err.Error(), "not suspended") {
		t.Errorf("a resume of a spool that serves: %v", err)
	}
	acked, stop := load(t, s, 4)
	for acked.Load() < 100 {
		if t.Failed() {
			return
		}
	}
	if err := s.Suspend(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if got := s.Status().Phase; got != Suspended {
		t.Errorf("the phase is %s", got)
	}
	if err := s.Suspend(testContext(t)); err == nil {
		t.Error("it can be suspended twice")
	}
	if _, err := Open(testContext(t), testOptions(dir)); err == nil || !strings.Contains(err.Error(), "is being handed over by process") {
		t.Errorf("opened by one who is no successor: %v", err)
	}
	if holder, err := CheckDir(dir); err != nil || holder == "" {
		t.Errorf("the directory is held by %q: %v", holder, err)
	}
	other := openSpool(t, successorOptions(dir))
	if err := s.Resume(testContext(t)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a resume while another has it: %v", err)
	}
	e := newEvent(1 << 20)
	if err := other.Emit(testContext(t), e); err != nil {
		t.Fatal(err)
	}
	before, err := other.State(testContext(t), schema.TypeCallPop)
	if err != nil {
		t.Fatal(err)
	}
	closeSpool(t, other)
	if err := s.Resume(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for so := acked.Load(); acked.Load() < so+100; {
		if t.Failed() {
			return
		}
	}
	ids := append(stop(), e.ID)
	state, err := s.State(testContext(t), schema.TypeCallPop)
	if err != nil {
		t.Fatal(err)
	}
	if int(state.Messages) != len(ids) || state.Last <= before.Last {
		t.Errorf("%d events of %d, up to %d", state.Messages, len(ids), state.Last)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != int(state.Messages) {
		t.Error("an id is there twice")
	}
	if losses := s.Losses(); len(losses) > 0 {
		t.Errorf("losses: %+v", losses)
	}
}

func successorOptions(dir string) Options {
	o := testOptions(dir)
	o.Successor = true
	return o
}

func TestClosingASuspendedSpoolLeavesItToItsOwner(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, testOptions(dir))
	if err := s.Suspend(testContext(t)); err != nil {
		t.Fatal(err)
	}
	other := openSpool(t, successorOptions(dir))
	closeSpool(t, s)
	if err := other.Emit(testContext(t), newEvent(1)); err != nil {
		t.Error(err)
	}
	if holder, err := CheckDir(dir); err != nil || holder == "" {
		t.Errorf("the directory is held by %q: %v", holder, err)
	}
}
