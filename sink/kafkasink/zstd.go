package kafkasink

import (
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
)

// zstdWindow is how far back an encoder looks for what it has seen. A batch is
// hardly larger; kafka-go's encoders look 8 MiB back and keep that much for it, one
// for each partition that is written to at once: 32 MiB with four partitions.
const zstdWindow = 1 << 20

// useSmallZstd has kafka-go compress with [zstdCodec] in this process. Its table of
// codecs is the only place to say so.
var useSmallZstd = sync.OnceFunc(func() {
	compress.Codecs[compress.Zstd] = &zstdCodec{Codec: compress.Codecs[compress.Zstd]}
})

// zstdCodec is kafka-go's with encoders that need less memory.
type zstdCodec struct {
	compress.Codec
	encoders sync.Pool // of *zstd.Encoder
}

// NewWriter implements [compress.Codec].
func (c *zstdCodec) NewWriter(w io.Writer) io.WriteCloser {
	encoder, _ := c.encoders.Get().(*zstd.Encoder)
	if encoder == nil {
		var err error
		if encoder, err = zstd.NewWriter(nil,
			zstd.WithEncoderConcurrency(1), // no goroutines of its own
			zstd.WithWindowSize(zstdWindow),
			zstd.WithLowerEncoderMem(true),
			zstd.WithZeroFrames(true), // nothing is a frame too
		); err != nil {
			return failedWriter{fmt.Errorf("make a zstd encoder: %w", err)}
		}
	}
	encoder.Reset(w)
	return &zstdWriter{codec: c, Encoder: encoder}
}

// zstdWriter is one use of an encoder.
type zstdWriter struct {
	*zstd.Encoder
	codec *zstdCodec
}

// Close ends the frame and gives the encoder back.
func (w *zstdWriter) Close() error {
	if w.Encoder == nil {
		return nil
	}
	err := w.Encoder.Close()
	w.Reset(nil) // lets go of the batch
	w.codec.encoders.Put(w.Encoder)
	w.Encoder = nil
	return err
}

type failedWriter struct{ err error }

func (w failedWriter) Write([]byte) (int, error) { return 0, w.err }
func (w failedWriter) Close() error              { return w.err }
