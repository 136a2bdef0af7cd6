//go:build !linux

package kafkatest

import "syscall"

func processAttributes() *syscall.SysProcAttr { return nil }
