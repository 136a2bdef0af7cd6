//go:build !unix

package bench

import "errors"

// OpenStamps is not to be had here.
func OpenStamps(string, int) (*Stamps, error) {
	return nil, errors.New("connector bench needs a Unix system")
}

// Close does nothing.
func (s *Stamps) Close() error { return nil }
