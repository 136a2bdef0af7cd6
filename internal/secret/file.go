package secret

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds a file with a secret: tokens and passwords are short, and a path
// to the wrong file must not fill the memory.
const maxFile = 64 << 10

// ReadFile reads a secret from a file, as container platforms mount them: the
// text without the line ends at its end. The error names the file; an empty file
// is one.
func ReadFile(path string) (Value, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return Value{}, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Value{}, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxFile {
		return Value{}, fmt.Errorf("read %s: more than %d bytes, too long for a secret", path, maxFile)
	}
	v := New(strings.TrimRight(string(text), "\r\n"))
	if v.IsZero() {
		return Value{}, fmt.Errorf("read %s: the file is empty", path)
	}
	return v, nil
}
