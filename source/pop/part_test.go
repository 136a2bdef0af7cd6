package pop

import (
	"strings"
	"testing"
)

func TestAPopIsTakenApartByItsFields(t *testing.T) {
	for _, c := range []struct {
		name, text string
		callback   bool
		want       string
	}{
		{
			"the manual's t1v1", "2,02586307627,1000,1208674344953,NA", false,
			"outch=2>call.line phone=02586307627>customer.number spare=1000>extra.spare startTime=1208674344953>call.started_at dtmf=NA>ivr.keys",
		},
		{
			"the manual's t1v3", "H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=801,sn=1234,dm=0;", false,
			"H=t1v3>format ch=2>call.line ph=86307627>customer.number id=12157703713752>call.id tm=080711175931>call.started_at op=801>agent.id sn=1234>call.sn dm=0>ivr.keys",
		},
		{
			"spaces, keys with semicolons, and what nobody knows", " H=t1v5, da= name:王|score:4 ,xx=<b>,junk,dm=1;2;", false,
			"H=t1v5>format da=name:王|score:4>ivr.data xx=<b>> =junk> dm=1;2>ivr.keys",
		},
		{
			"a callback", "phone=02586307627&oper=801&ch=8&datetime=080201153059&dtmf=1;2;&name=%CD%F5&x", true,
			"phone=02586307627>customer.number oper=801>agent.id ch=8>agent.channel datetime=080201153059>call.started_at dtmf=1;2;>ivr.keys name=王> =x>",
		},
		{"t1v1 whose keys hold a comma", "2,02586307627,,1208674344953,1,2", false, "outch=2>call.line phone=02586307627>customer.number startTime=1208674344953>call.started_at dtmf=1,2>ivr.keys"},
		{"nothing", "", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, p := range Parts(c.text, c.callback) {
				got = append(got, p.Name+"="+p.Value+">"+p.Field)
				if !c.callback && !strings.Contains(c.text[p.From:p.To], p.Value) {
					t.Errorf("%q is not at %d to %d", p.Value, p.From, p.To)
				}
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// FuzzParts: whatever the text, its parts are in it, in order, and do not overlap.
func FuzzParts(f *testing.F) {
	for _, text := range []string{
		"2,02586307627,1000,1208674344953,NA", "H=t1v5,ch=2,ph=1,da=a:b|c:d,dm=1;2;", "phone=1&x=%CD%F5&&=", " ;", ",,,,,,;", "H=\xff\xfe,",
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, callback bool) {
		end := 0
		parts := Parts(text, callback)
		for _, p := range parts {
			if p.From < end || p.To < p.From || p.To > len(text) {
				t.Fatalf("%+v of %q after %d", p, text, end)
			}
			end = p.To
		}
		if len(parts) > maxParts {
			t.Fatalf("%d parts", len(parts))
		}
	})
}
