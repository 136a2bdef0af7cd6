//go:build linux || darwin

package spool

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// statfs asks the file system; it costs a system call.
func statfs(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}
