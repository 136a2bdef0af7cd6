package schema_test

import (
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

// benchPop has the 15 fields of an ordinary pop of 81 bytes.
func benchPop() *schema.CallPop {
	raw := "H=t1v4,ch=2,ph=013812345678,ty=1,tm=080711175931,op=801,sn=123456,so=0,da=0,dm=1;"
	received := time.Date(2008, 7, 11, 9, 59, 31, 512345678, time.UTC)
	return &schema.CallPop{
		ID:          schema.NewID(received),
		Fingerprint: schema.Fingerprint("hq", "801", []byte(raw)),
		Version:     schema.Version,
		Key:         schema.Key("hq", "123456", "", ""),
		Server:      "hq",
		Agent:       schema.Agent{ID: "801"},
		Pop:         schema.PopKind{Mode: schema.ModeInbound, Code: 1},
		Direction:   schema.Inbound,
		Call: schema.Call{
			SN: "123456", Line: "2",
			StartedAt: time.Date(2008, 7, 11, 17, 59, 31, 0, time.FixedZone("", 8*3600)),
		},
		Customer:   schema.Customer{Number: "013812345678", E164: "+8613812345678"},
		IVR:        schema.IVR{Keys: "1"},
		Format:     schema.T1V5,
		Raw:        raw,
		Source:     schema.Source{Type: "session", Name: "hq"},
		ReceivedAt: received,
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	pop := benchPop()
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = pop.AppendJSON(dst[:0])
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkAppendJSONWithMapsAndChinese(b *testing.B) {
	pop := benchPop()
	pop.IVR.Data = "meb_id:2222|name:张三|score:4444"
	pop.IVR.Fields = map[string]string{"meb_id": "2222", "name": "张三", "score": "4444"}
	pop.Raw = "H=t1v5,ch=2,ph=013812345678,ty=1,tm=080711175931,op=801,sn=123456,so=0,da=meb_id:2222|name:张三|score:4444,dm=1;"
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = pop.AppendJSON(dst[:0])
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkAppendID(b *testing.B) {
	dst := make([]byte, 0, 64)
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		dst = schema.AppendID(dst[:0], now)
	}
}

func BenchmarkNewID(b *testing.B) {
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		schema.NewID(now)
	}
}

func BenchmarkAppendFingerprint(b *testing.B) {
	raw := []byte(benchPop().Raw)
	dst := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		dst = schema.AppendFingerprint(dst[:0], "hq", "801", raw)
	}
}

func BenchmarkNATSHeaders(b *testing.B) {
	event := benchPop().Event()
	b.ReportAllocs()
	for b.Loop() {
		for range event.NATSHeaders() {
		}
	}
}
