package lqsim

import (
	"math/rand/v2"
	"strings"
)

// numberKinds weighs who calls a call centre, out of 100, with how such a number
// is made up (manual chapter 3: a mobile or land line from elsewhere has a
// leading 0, one of the place has none and no area code).
var numberKinds = []struct {
	weight int
	name   string
	number func(*rand.Rand) string
}{
	{38, "local mobile", mobile},
	{20, "mobile from elsewhere", func(r *rand.Rand) string { return "0" + mobile(r) }},
	{16, "local land line", func(r *rand.Rand) string { return pick(r, "5", "6", "8") + digits(r, 7) }},
	{12, "land line with area code", landLine},
	{5, "400 number", func(r *rand.Rand) string { return "400" + pick(r, "1", "6", "8", "9") + digits(r, 6) }},
	{5, "short number", func(r *rand.Rand) string {
		return pick(r, "10086", "10010", "10000", "95588", "95533", "95555", "12345", "114")
	}},
	{4, "anonymous", func(r *rand.Rand) string { return pick(r, "", "anonymous") }},
}

// number makes up a customer's number.
func number(r *rand.Rand) string {
	at := r.IntN(100)
	for _, kind := range numberKinds {
		if at -= kind.weight; at < 0 {
			return kind.number(r)
		}
	}
	return mobile(r)
}

func mobile(r *rand.Rand) string {
	return pick(r, "130", "131", "133", "135", "136", "137", "138", "139", "150", "151", "152", "158",
		"159", "177", "180", "181", "182", "186", "187", "188", "189", "191", "198", "199") + digits(r, 8)
}

// landLine is a number of another city, of eight or seven digits behind its code.
func landLine(r *rand.Rand) string {
	if r.IntN(5) == 0 {
		return pick(r, "0550", "0552", "0835", "0855") + pick(r, "2", "3", "6", "7") + digits(r, 6)
	}
	return pick(r, "010", "020", "021", "0512", "0551", "0571", "0755") + pick(r, "2", "5", "6", "8") + digits(r, 7)
}

func digits(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(byte('0' + r.IntN(10)))
	}
	return b.String()
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// ivrData makes up what an IVR program attached to a call (_data_, manual chapter
// 8): pairs parted by bars, some in Chinese, some plain text. Empty means none.
func ivrData(r *rand.Rand) string {
	switch r.IntN(10) {
	case 0, 1, 2:
		return ""
	case 3, 4, 5:
		return "meb_id:" + digits(r, 4) + "|ord_id:" + digits(r, 4) + "|score:" + digits(r, 4)
	case 6:
		return "country:china|province:jiangsu|city:" + pick(r, "nanjing", "suzhou", "wuxi", "xuzhou")
	case 7:
		return "name:" + personName(r) + "|level:" + pick(r, "金卡", "银卡", "普通会员")
	case 8:
		return "name:" + personName(r) + "|ord_id:" + digits(r, 6) + "|time:09:" + pick(r, "00", "15", "30", "45")
	default:
		return pick(r, "查询余额", "投诉建议", "vip", "预约维修")
	}
}

func personName(r *rand.Rand) string {
	return pick(r, "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "欧阳", "诸葛") +
		pick(r, "伟", "芳", "娜", "秀英", "敏", "静", "丽", "强", "磊", "洋", "建国", "小明")
}

// pressedKeys makes up the keys that the customer pressed. Empty means none.
func pressedKeys(r *rand.Rand) string {
	if r.IntN(5) < 2 {
		return ""
	}
	keys := make([]string, 1+r.IntN(4))
	for i := range keys {
		keys[i] = pick(r, "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "0")
	}
	if len(keys) == 1 && keys[0] == "0" {
		return "" // dm=0 means none
	}
	return strings.Join(keys, ";")
}
