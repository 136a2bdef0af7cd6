package kafkatest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestABrokerKeepsItsRecordsThroughAStopAndAKill(t *testing.T) {
	c := Start(t, Options{})
	c.CreateTopic(t, "calls", 3, 1, nil)
	b := c.Broker(0)
	keys := []string{"hq/1", "hq/2", "分机/三", "", "hq/1"}
	c.Produce(t, "calls", keys)
	b.Stop(t)
	if err := b.ping(t.Context()); err == nil {
		t.Fatal("the broker answers after it was stopped")
	}
	b.Restart(t)
	c.Produce(t, "calls", []string{"hq/4"})
	b.Kill(t)
	b.Restart(t)

	got := map[string][]string{}
	for _, r := range c.Consume(t, "calls", len(keys)+1) {
		got[r.Key] = append(got[r.Key], r.Value)
	}
	want := map[string][]string{"hq/1": {"0", "4"}, "hq/2": {"1"}, "分机/三": {"2"}, "": {"3"}, "hq/4": {"0"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestALineOfTheConsoleConsumerIsRead(t *testing.T) {
	line := "CreateTime:1795416868226\x1fPartition:3\x1fOffset:42\x1fce_id:a:b\x1ece_type:t\x1fk\x1f{\"a\":1}"
	got, err := parseRecord(line)
	if err != nil {
		t.Fatal(err)
	}
	want := Record{
		Time: time.UnixMilli(1795416868226).UTC(), Partition: 3, Offset: 42, Key: "k", Value: `{"a":1}`,
		Headers: map[string]string{"ce_id": "a:b", "ce_type": "t"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"", line[:20], strings.Replace(line, "ce_type", "ce_id", 1), strings.Replace(line, "42", "x", 1)} {
		if _, err := parseRecord(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
