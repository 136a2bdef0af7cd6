package pop

import (
	"testing"
)

// benchmarks are strings without anything odd, the first the longest format at a
// usual length.
var benchmarks = []string{
	"H=t1v5,ch=2,ph=013812345678,ty=1,tm=080711175931,op=801,sn=1234,so=802,da=0,dm=0;",
	"H=t1v5,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=0,da= meb_id:2222|ord_id:3333|score:4444,dm=1;2;",
	"H=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;",
	"2,02586307627,1000,1208674344953,NA",
}

var benchmarkNames = []string{"T1V5", "T1V5Data", "T1V2", "T1V1"}

func BenchmarkDecode(b *testing.B) {
	run := func(name string, raw []byte) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			d := Decoder{Location: shanghai(b)}
			var p Pop
			for b.Loop() {
				if err := d.Decode(raw, &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for i, raw := range benchmarks {
		run(benchmarkNames[i], []byte(raw))
	}
	const chinese = "H=t1v5,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=0,da=姓名:张三|城市:南京,dm=0;"
	run("T1V5UTF8", []byte(chinese))
	run("T1V5GB18030", []byte(gbk(b, chinese)))
}

func BenchmarkKeyHash(b *testing.B) {
	for i, raw := range benchmarks {
		b.Run(benchmarkNames[i], func(b *testing.B) {
			b.ReportAllocs()
			raw := []byte(raw)
			for b.Loop() {
				if _, ok := KeyHash(raw); !ok {
					b.Fatal("no key")
				}
			}
		})
	}
}

func BenchmarkDecodeCallback(b *testing.B) {
	b.ReportAllocs()
	query := []byte("phone=02586307627&oper=801&ch=8&datetime=080201153059&startTime=564646465266&id=5646464652668&dtmf=1;2;")
	d := Decoder{Location: shanghai(b)}
	var p Pop
	for b.Loop() {
		if err := d.DecodeCallback(query, &p); err != nil {
			b.Fatal(err)
		}
	}
}
