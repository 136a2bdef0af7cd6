package documents

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"

	"github.com/callpop/connector/schema"
)

var update = flag.Bool("update", false, "write docs/events.md and docs/events.zh-CN.md anew")

// asyncAPI is what the reference takes from the AsyncAPI document.
type asyncAPI struct {
	Channels map[string]struct {
		Address string `yaml:"address"`
	} `yaml:"channels"`
	Components struct {
		Messages map[string]struct {
			Name    string `yaml:"name"`
			Headers struct {
				Required   []string                     `yaml:"required"`
				Properties map[string]map[string]string `yaml:"properties"`
			} `yaml:"headers"`
		} `yaml:"messages"`
	} `yaml:"components"`
}

// words are a language's own part of the page; the rest are the schemas' texts.
type words struct {
	file, intro, where, broker, subject, topic, fields, example, headers, headersIntro string
	columns                                                                            []string
	kinds                                                                              map[string]string
	yes, names, comma                                                                  string
	translate                                                                          func(english string) string
}

func english() words {
	return words{
		file: "../../docs/events.md",
		intro: `# Events: the reference

[中文](events.zh-CN.md)

Made from the schemas in ` + "`schema/`" + `; ` + "`connector schema`" + ` prints them, ` + "`connector schema asyncapi`" + ` the AsyncAPI document. A field within an object is always there where its object is. What is promised of the events' order and repeats stands in the [README](../README.md).
`,
		where: "Where", broker: "Broker", subject: "NATS subject", topic: "Kafka topic", fields: "Fields", example: "Example", headers: "Headers",
		headersIntro: "CloudEvents 1.0 in the binary mode: the body is the event as above, its attributes are headers. Kafka's record key is the event's key.",
		columns:      []string{"Field", "Type", "Always there", "Meaning"},
		kinds:        map[string]string{"string": "text", "integer": "integer", "boolean": "boolean", "object": "object", "number": "number"},
		yes:          "yes", names: "one of", comma: ", ", translate: func(text string) string { return text },
	}
}

// chinese translates each text of the schemas by testdata/reference.zh-CN.yaml. A
// text that changed has no translation there, and the test says so.
func chinese(t *testing.T) words {
	content, err := os.ReadFile("testdata/reference.zh-CN.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	if err := yaml.Unmarshal(content, &texts); err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	t.Cleanup(func() {
		for text := range texts {
			if !used[text] && !t.Failed() {
				t.Errorf("reference.zh-CN.yaml translates %q, which no schema says", text)
			}
		}
	})
	return words{
		file: "../../docs/events.zh-CN.md",
		intro: `# 事件参考

[English](events.md)

本页由 ` + "`schema/`" + ` 中的模式生成；` + "`connector schema`" + ` 输出这些模式，` + "`connector schema asyncapi`" + ` 输出 AsyncAPI 文档。对象内的字段标为必有，是指该对象存在时必有。事件的顺序与重复有何保证，见 [README](../README.zh-CN.md)。
`,
		where: "发布位置", broker: "消息服务器", subject: "NATS 主题", topic: "Kafka 主题", fields: "字段", example: "示例", headers: "消息头",
		headersIntro: "采用 CloudEvents 1.0 的二进制模式：消息体即上述事件，属性放在消息头中。Kafka 记录的键就是事件的 key。",
		columns:      []string{"字段", "类型", "必有", "含义"},
		kinds:        map[string]string{"string": "文本", "integer": "整数", "boolean": "布尔", "object": "对象", "number": "数"},
		yes:          "是", names: "取值", comma: "，",
		translate: func(text string) string {
			if texts[text] == "" {
				t.Errorf("testdata/reference.zh-CN.yaml has no translation of %q", text)
			}
			used[text] = true
			return texts[text]
		},
	}
}

func TestTheReferenceIsThatOfTheSchemas(t *testing.T) {
	var api asyncAPI
	if err := yaml.Unmarshal(schema.AsyncAPI(), &api); err != nil {
		t.Fatal(err)
	}
	for _, w := range []words{english(), chinese(t)} {
		want := reference(t, w, &api)
		if *update {
			if err := os.WriteFile(w.file, want, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(w.file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not that of the schemas: run go test ./internal/documents -update, and read what changed", w.file)
		}
	}
}

// reference is the page in one language.
func reference(t *testing.T, w words, api *asyncAPI) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(w.intro)
	for _, kind := range schema.Types {
		var s jsonschema.Schema
		if err := json.Unmarshal(schema.JSONSchema(kind), &s); err != nil {
			t.Fatal(err)
		}
		title, _, _ := strings.Cut(s.Title, ",")
		fmt.Fprintf(&b, "\n## %s, `%s`\n\n%s\n", title, kind, cell(w.translate(s.Description)))
		fmt.Fprintf(&b, "\n| %s | %s |\n|---|---|\n", w.broker, w.where)
		nats, kafka := addresses(t, api, kind)
		fmt.Fprintf(&b, "| %s | `%s` |\n| %s | `%s` |\n", w.subject, nats, w.topic, kafka)
		fmt.Fprintf(&b, "\n### %s: %s\n\n", title, w.fields)
		table(&b, w.columns)
		fields(&b, w, &s, &s, "")
		fmt.Fprintf(&b, "\n### %s: %s\n\n```json\n%s\n```\n", title, w.example, exampleOf(t, kind))
	}
	fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", w.headers, w.headersIntro)
	table(&b, []string{"NATS", "Kafka", w.columns[2], w.columns[3]})
	headers(&b, w, api)
	return b.Bytes()
}

func table(b *bytes.Buffer, columns []string) {
	fmt.Fprintf(b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

// fields writes a row for each field of an object, and for those within it.
func fields(b *bytes.Buffer, w words, root, object *jsonschema.Schema, path string) {
	for field := object.Properties.Oldest(); field != nil; field = field.Next() {
		s, name := field.Value, path+field.Key
		always := ""
		if slices.Contains(object.Required, field.Key) {
			always = w.yes
		}
		within := root.Definitions[strings.TrimPrefix(s.Ref, "#/$defs/")]
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, kindOf(w, s, within), always, cell(w.translate(s.Description)))
		if within != nil {
			fields(b, w, root, within, name+".")
		}
	}
}

// kindOf is what a field holds.
func kindOf(w words, s, within *jsonschema.Schema) string {
	kind := s.Type
	if within != nil {
		kind = within.Type
	}
	text := w.kinds[kind]
	if s.Format != "" {
		text += w.comma + s.Format
	}
	if s.Const != nil {
		text += fmt.Sprintf("%s`%v`", w.comma, s.Const)
	}
	if len(s.Enum) > 0 {
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprintf("`%v`", v)
		}
		text += w.comma + w.names + " " + strings.Join(values, " ")
	}
	return text
}

// cell makes a text fit for a cell of a table and for Markdown.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "\n", " ").Replace(text)
}

func addresses(t *testing.T, api *asyncAPI, kind schema.Type) (nats, kafka string) {
	t.Helper()
	for _, c := range api.Channels {
		switch {
		case c.Address == string(kind):
			kafka = c.Address
		case strings.HasPrefix(c.Address, string(kind)+"."):
			nats = c.Address
		}
	}
	if nats == "" || kafka == "" {
		t.Fatalf("the AsyncAPI document has no channels of %s", kind)
	}
	return nats, kafka
}

// exampleOf is a golden event of the type, as a reader may meet it.
func exampleOf(t *testing.T, kind schema.Type) []byte {
	t.Helper()
	name := map[schema.Type]string{schema.TypeCallPop: "t1v4", schema.TypeSessionChanged: "connected", schema.TypeDeadLetter: "undecodable"}[kind]
	golden, err := os.ReadFile(fmt.Sprintf("../../schema/testdata/%s.%s.golden.json", kind, name))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(golden), "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// headers writes a row for each header, by its names in both brokers.
func headers(b *bytes.Buffer, w words, api *asyncAPI) {
	nats, kafka := api.Components.Messages["callPopNATS"].Headers, api.Components.Messages["callPopKafka"].Headers
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range nats.Properties {
			if !yield(name) {
				return
			}
		}
	})
	for _, name := range names {
		other := strings.Replace(name, "ce-", "ce_", 1)
		if _, ok := kafka.Properties[other]; ok {
			other = "`" + other + "`"
		} else {
			other = "–"
		}
		always := ""
		if slices.Contains(nats.Required, name) {
			always = w.yes
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, other, always, cell(w.translate(nats.Properties[name]["description"])))
	}
}
