package kafkasink

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/compress"
)

func TestASmallZstdWindowCompressesABatchAsWellAndIsReadByTheLibrary(t *testing.T) {
	useSmallZstd()
	small, ok := compress.Codecs[compress.Zstd].(*zstdCodec)
	if !ok {
		t.Fatalf("kafka-go compresses with a %T", compress.Codecs[compress.Zstd])
	}
	var batch strings.Builder
	for n := 0; batch.Len() < 1<<20; n++ {
		fmt.Fprintf(&batch, `{"id":"%032x","server":"hq","agent":{"id":"%d"},"customer":{"number":"8630%04d"}}`, n*2654435761, 801+n%60, n%9973)
	}
	pack := func(c compress.Codec) []byte {
		t.Helper()
		var out bytes.Buffer
		w := c.NewWriter(&out)
		if _, err := io.Copy(w, strings.NewReader(batch.String())); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Errorf("the second close: %v", err)
		}
		return out.Bytes()
	}
	for range 3 { // an encoder is used again
		packed, before := pack(small), pack(small.Codec)
		if len(packed) > len(before)+len(before)/50 {
			t.Errorf("%d bytes, and %d with the library's own window", len(packed), len(before))
		}
		r := small.NewReader(bytes.NewReader(packed))
		got, err := io.ReadAll(r)
		if err != nil || string(got) != batch.String() {
			t.Errorf("read back %d bytes of %d: %v", len(got), batch.Len(), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
