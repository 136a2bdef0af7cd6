package main

import (
	"strings"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// A region is where a number is from: the province of a Chinese number, the country
// of any other. A land line's is that of its area code, a mobile's that in which its
// block of numbers was given out, wherever the caller is now. The table is that of
// libphonenumber.
const (
	// noRegion is of a number that is not known or has no certain international form:
	// withheld, a service's short number.
	noRegion = unknown
	// noProvince is of a Chinese number that belongs to no province: a 400 or 800
	// number, or a mobile of a block that the table does not have.
	noProvince = "China, other"
)

// regionOf is the region of a number in its international form, which may be empty.
func regionOf(e164 string) string {
	number, err := phonenumbers.Parse(e164, "ZZ")
	if err != nil {
		return noRegion
	}
	country := phonenumbers.GetRegionCodeForNumber(number)
	if country != "CN" {
		if code, err := language.ParseRegion(country); err == nil && code.IsCountry() {
			return display.English.Regions().Name(code)
		}
		return noRegion
	}
	place, err := phonenumbers.GetGeocodingForNumber(number, "en")
	if err != nil {
		return noProvince
	}
	// "Nanjing, Jiangsu", or "Beijing" alone.
	province := place[strings.LastIndex(place, ",")+1:]
	if province = strings.TrimSpace(province); chinese(province) == "" {
		return noProvince
	}
	return province
}

// chinese is the Chinese name of a province, or of what else the pages show; it is
// empty for what has none here.
func chinese(name string) string { return names()[name] }

func names() map[string]string {
	return map[string]string{
		"Anhui": "安徽", "Beijing": "北京", "Chongqing": "重庆", "Fujian": "福建", "Gansu": "甘肃", "Guangdong": "广东",
		"Guangxi": "广西", "Guizhou": "贵州", "Hainan": "海南", "Hebei": "河北", "Heilongjiang": "黑龙江", "Henan": "河南",
		"Hubei": "湖北", "Hunan": "湖南", "Inner Mongolia": "内蒙古", "Jiangsu": "江苏", "Jiangxi": "江西", "Jilin": "吉林",
		"Liaoning": "辽宁", "Ningxia": "宁夏", "Qinghai": "青海", "Shaanxi": "陕西", "Shandong": "山东", "Shanghai": "上海",
		"Shanxi": "山西", "Sichuan": "四川", "Tianjin": "天津", "Tibet": "西藏", "Xinjiang": "新疆", "Yunnan": "云南",
		"Zhejiang": "浙江",

		noProvince: "中国其他", unknown: "未知",

		// The modes, as the manual's chapter 8 names them.
		"inbound": "呼入", "manual_outbound": "手工呼出", "auto_outbound": "自动呼出", "inbound_conference": "呼入三方通话",
		"outbound_conference": "外呼三方通话", "inbound_transfer": "呼入转接", "outbound_transfer": "外呼转接", "test": "测试", "reserved": "待定",
	}
}
