//go:build !linux && !darwin

package spool

import "errors"

func statfs(string) (uint64, error) {
	return 0, errors.New("not supported on this system")
}
