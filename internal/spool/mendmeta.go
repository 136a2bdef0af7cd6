package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
)

// mendMeta sees to a stream's configuration. The server does not open a stream
// whose configuration has another checksum than it should, and does not write it
// anew either: where it is damaged it goes, and the spool makes it again. Where only
// the checksum is damaged, it is made again, and the stream keeps the consumers that
// clients have on it.
func (s *Spool) mendMeta(stream string) error {
	dir := streamDir(s.config.Dir, stream)
	config, sum := filepath.Join(dir, "meta.inf"), filepath.Join(dir, "meta.sum")
	text, err := os.ReadFile(config) //nolint:gosec // a file of the spool
	if errors.Is(err, fs.ErrNotExist) {
		return removeIfThere(sum)
	}
	if err != nil {
		return err
	}
	was, err := os.ReadFile(sum) //nolint:gosec // a file of the spool
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	key := sha256.Sum256([]byte(stream))
	hash, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return fmt.Errorf("check %s: %w", config, err)
	}
	_, _ = hash.Write(text) // a hash takes all it is given
	want := hex.EncodeToString(hash.Sum(nil))
	if string(was) == want {
		return nil
	}
	if _, err := hex.DecodeString(string(was)); err != nil || len(was) != len(want) {
		// The checksum is no checksum. The configuration may well be whole: it is if it
		// can be read.
		var read server.FileStreamInfo
		if json.Unmarshal(text, &read) == nil && read.Name == stream {
			s.logger.Warn("the checksum of a stream's configuration is damaged; it is made anew", "stream", stream)
			return replaceFile(sum, []byte(want))
		}
	}
	s.logger.Warn("the configuration of a stream is damaged; it is made anew", "stream", stream)
	return errors.Join(removeIfThere(config), removeIfThere(sum))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
