package pop

import "testing"

func TestStringsOfOneCallHaveOneHash(t *testing.T) {
	tests := []struct {
		name string
		raws []string
	}{
		{"ringing, transfer, three-way and re-pop", []string{
			"H=t1v5,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=0,da=0,dm=0;",
			"H=t1v5,ch=2,ph=86307627,ty=5,tm=080711175931,op=802,sn=1234,so=801,da=0,dm=0;",
			"dm=0, sn = 1234 ,id=99",
			"id=0,sn=1234,sn=7;",
			"da=\xd5\xc5,sn=1234",
		}},
		{"an id, given and derived", []string{
			"H=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;",
			"2,86307627,1000,1215770371375,NA",
			" 2 , 86307627,,0001215770371375 ;",
			"2,,1000,1215770371375",
			"sn=NA,id=12157703713752",
			"sn=0,id=12157703713752,id=5,sn=7;",
		}},
		{"an sn in two character sets", []string{"sn=张", "sn=" + gbk(t, "张")}},
	}
	hashes := map[uint64]string{}
	for _, tt := range tests {
		want, ok := KeyHash([]byte(tt.raws[0]))
		if !ok {
			t.Fatalf("%s: no hash", tt.name)
		}
		if other, taken := hashes[want]; taken {
			t.Errorf("%s has the hash of %s", tt.name, other)
		}
		hashes[want] = tt.name
		var d Decoder
		for _, raw := range tt.raws {
			if got, ok := KeyHash([]byte(raw)); got != want || !ok {
				t.Errorf("%s: %q: got %x, %v, want %x", tt.name, raw, got, ok, want)
			}
			var p Pop
			if err := d.Decode([]byte(raw), &p); err != nil {
				t.Fatalf("%q: %v", raw, err)
			}
			if got, ok := p.KeyHash(); got != want || !ok {
				t.Errorf("%s: %q decoded: got %x, %v, want %x", tt.name, raw, got, ok, want)
			}
		}
	}
}

func TestStringsThatTellNoCallHaveNoHash(t *testing.T) {
	for _, raw := range []string{
		"", ";", "hello", "ph=10086;", "sn=0,id=NA;", "sn=,sn=5;", "SN=5;", "2,10086,1000,,NA", "2,10086,1000,0,NA",
		string(make([]byte, MaxLength+1)),
	} {
		if got, ok := KeyHash([]byte(raw)); ok {
			t.Errorf("%.20q: got %x, want none", raw, got)
		}
	}
}
