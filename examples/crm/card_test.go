package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

func TestACardShowsNumbersOnlyWhenAsked(t *testing.T) {
	p := &schema.CallPop{
		Agent: schema.Agent{ID: "801\r"}, Pop: schema.PopKind{Mode: schema.ModeInboundTransfer, Code: 5},
		Call:     schema.Call{TransferredFrom: "802"},
		Customer: schema.Customer{Number: "013812345678", E164: "+8613812345678"},
		IVR:      schema.IVR{Keys: "1;3;9;8;7;6;5;4;3;2;1", Fields: map[string]string{"callback": "025-86307627", "level": "金卡\x1b[31m", "b\x07": "\u202e"}},
	}
	who := &customer{Number: "+8613812345678", Name: "王芳\n│ number", Note: "mobile 13987654321"}
	for _, test := range []struct {
		show bool
		want string
	}{
		{false, "agent 801\uFFFD\n│ customer  王芳\uFFFD│ number\n│ note      mobile 139****4321\n│ number    +861****5678\n│ call      inbound_transfer\n│ from      802\n" +
			"│ keys      139****4321\n│ b\uFFFD        \uFFFD\n│ callback  025****7627\n│ level     金卡\uFFFD[31m\n└─\n"},
		{true, "agent 801\uFFFD\n│ customer  王芳\uFFFD│ number\n│ note      mobile 13987654321\n│ number    +8613812345678\n│ call      inbound_transfer\n│ from      802\n" +
			"│ keys      1;3;9;8;7;6;5;4;3;2;1\n│ b\uFFFD        \uFFFD\n│ callback  025-86307627\n│ level     金卡\uFFFD[31m\n└─\n"},
	} {
		var b strings.Builder
		if err := (&screen{w: &b, showNumbers: test.show}).show(p, who); err != nil {
			t.Fatal(err)
		}
		_, got, _ := strings.Cut(b.String(), "  ")
		if got != test.want {
			t.Errorf("show %t:\n%s\nwant\n%s", test.show, got, test.want)
		}
	}
}

func TestACardHasALength(t *testing.T) {
	p := &schema.CallPop{IVR: schema.IVR{Fields: map[string]string{}}}
	for i := range 100 {
		p.IVR.Fields[fmt.Sprint("field", i)] = strings.Repeat("长", 1000)
	}
	var b strings.Builder
	_ = (&screen{w: &b}).show(p, nil)
	if lines := strings.Count(b.String(), "\n"); lines != maxFields+4 || b.Len() > maxFields*(3*maxText+100) {
		t.Errorf("got %d lines and %d bytes", lines, b.Len())
	}
}

func TestALateCallIsNotShownAndAReplayIsAnotherEvent(t *testing.T) {
	var b strings.Builder
	c := &crm{outbox: newOutbox(t), posts: true, late: time.Minute, screen: &screen{w: &b}}
	old := exampletest.Simulate(t, exampletest.Options{Agents: []string{"801"}, Pops: 1, Start: time.Now().Add(-time.Hour)})[0]
	now := exampletest.Simulate(t, exampletest.Options{Agents: []string{"801"}, Pops: 1, Start: time.Now()})[0]
	handle := func(p exampletest.Pop, replay string) {
		if err := c.handle(t.Context(), []*consume.Delivery{{Event: p.Event, CallPop: &p.CallPop, Replay: replay}}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		handle(old, "")
		handle(now, "")
		handle(now, "run1")
	}
	letters, _, err := c.outbox.due(t.Context(), time.Now(), 10)
	if err != nil || len(letters) != 3 || strings.Count(b.String(), "┌─") != 2 {
		t.Errorf("%d calls to post (%v) and the screen\n%s\nwant 3 and 2 cards", len(letters), err, b.String())
	}
}

func TestCustomersAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "customers.csv")
	for text, want := range map[string]string{
		"1":               "line 1 has 1 fields: expected number,name",
		"1,a\n1,b,c,d,e":  "line 2 has 5 fields",
		"1,":              "line 1 has 2 fields",
		"1,a\nx138,b":     "line 2: field number is not one",
		"1,a\n\"b":        "parse error on line 2",
		",a":              "line 1: field number is not one",
		"number,a\n+,b":   "line 2: field number is not one",
		"1,a\nnumber,b,c": "line 2: field number is not one",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readCustomers(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	if err := os.WriteFile(path, []byte("\ufeffnumber,name\r\n+86 138-1234-5678,王芳\n10086,中国移动,China Mobile,gold\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readCustomers(path)
	if want := []customer{{"+8613812345678", "王芳", "", ""}, {"10086", "中国移动", "China Mobile", "gold"}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestWrongUseIsSaid(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"now"}, `argument "now"`},
		{[]string{"-late", "0s"}, "-late is 0s"},
		{[]string{"-hook", "crm.example/calls?token=hush"}, "-hook is no URL"},
		{[]string{"-hook", "ftp://crm.example"}, "-hook is no URL"},
		{[]string{"-db", filepath.Join(t.TempDir(), "no", "where.db")}, "no such file"},
		{[]string{"-db", filepath.Join(t.TempDir(), "a.db"), "-customers", "nowhere.csv"}, "read customers: open nowhere.csv"},
	} {
		var out, log outputtest.Output
		err := run(t.Context(), test.args, func(string) string { return "" }, &out, &log)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%v: got %v, want %q", test.args, err, test.want)
		}
	}
}
