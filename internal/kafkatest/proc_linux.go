package kafkatest

import "syscall"

// processAttributes has the kernel end a broker whose test has died without
// cleaning up, as at a time-out of go test.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
