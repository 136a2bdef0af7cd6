package schema_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"

	"github.com/callpop/connector/schema"
)

// message is a binary-mode message as CloudEvents' own Go SDK reads one.
type message struct {
	style   style
	headers map[string]string
	body    []byte
}

func (m message) version() spec.Version {
	return spec.WithPrefix(m.style.prefix).Version(m.headers[m.style.prefix+"specversion"])
}

func (m message) ReadEncoding() binding.Encoding { return binding.EncodingBinary }

func (m message) ReadStructured(context.Context, binding.StructuredWriter) error {
	return binding.ErrNotStructured
}

func (m message) ReadBinary(_ context.Context, w binding.BinaryWriter) error {
	version := m.version()
	for name, value := range m.headers {
		var err error
		if extension, ok := strings.CutPrefix(name, m.style.prefix); !ok {
			if name == schema.HeaderContentType {
				err = w.SetAttribute(version.AttributeFromKind(spec.DataContentType), value)
			}
		} else if attribute := version.Attribute(name); attribute != nil {
			err = w.SetAttribute(attribute, m.style.decode(value))
		} else {
			err = w.SetExtension(extension, m.style.decode(value))
		}
		if err != nil {
			return fmt.Errorf("header %s: %w", name, err)
		}
	}
	return w.SetData(bytes.NewReader(m.body))
}

func (m message) GetAttribute(kind spec.Kind) (spec.Attribute, any) {
	attribute := m.version().AttributeFromKind(kind)
	return attribute, m.headers[m.style.prefix+attribute.Name()]
}

func (m message) GetExtension(name string) any { return m.headers[m.style.prefix+name] }
func (m message) Finish(error) error           { return nil }

var (
	_ binding.Message               = message{}
	_ binding.MessageMetadataReader = message{}
)

func TestTheCloudEventsSDKReadsEveryEvent(t *testing.T) {
	for _, s := range styles {
		for _, want := range testEvents() {
			headers := headerMap(t, s.headers(&want))
			headers[s.prefix+schema.AttributeSpoolSequence] = "spool-00000000000000000042"
			got, err := binding.ToEvent(t.Context(), message{s, headers, want.Body})
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if err := got.Validate(); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
			gotTable := map[string]any{
				"id": got.ID(), "type": got.Type(), "subject": got.Subject(), "time": got.Time().UTC(), "specversion": got.SpecVersion(),
				"dataschema": got.DataSchema(), "content type": got.DataContentType(), "body": string(got.Data()), "extensions": got.Extensions(),
			}
			wantTable := map[string]any{
				// The SDK trims a subject.
				"id": want.ID, "type": string(want.Type), "subject": strings.TrimSpace(want.Agent), "time": want.Time.UTC(), "specversion": "1.0",
				"dataschema": want.Type.DataSchema(), "content type": "application/json", "body": string(want.Body),
				"extensions": map[string]any{"partitionkey": want.Key, "spoolsequence": "spool-00000000000000000042"},
			}
			if !reflect.DeepEqual(gotTable, wantTable) {
				t.Errorf("%s:\n got %v\nwant %v", s.name, gotTable, wantTable)
			}
			if got, want := percentDecoded(got.Source()), "/lq/"+want.Server; got != want {
				t.Errorf("%s: source %q, want %q", s.name, got, want)
			}
		}
	}
}
