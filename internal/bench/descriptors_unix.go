//go:build unix

package bench

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// spareDescriptors is what a process has open beside its sessions.
const spareDescriptors = 200

// raiseDescriptors raises this process's limit of open files as far as it may, and
// says what is missing where that is too little.
func raiseDescriptors(sessions int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("look up the limit of open files: %w", err)
	}
	need := uint64(sessions + spareDescriptors)
	now := uint64(limit.Cur) //nolint:unconvert // signed on FreeBSD
	if now < need && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return fmt.Errorf("raise the limit of open files to %d: %w", limit.Max, err)
		}
		now = uint64(limit.Cur) //nolint:unconvert // as above
	}
	if now < need {
		return fmt.Errorf("%d sessions need %d open files in each process, and the hard limit is %d: "+
			"raise it (ulimit -Hn %d as root, or LimitNOFILE= in a unit), or ask for at most %d sessions",
			sessions, need, limit.Max, need, max(0, int64(limit.Max)-spareDescriptors))
	}
	return nil
}
