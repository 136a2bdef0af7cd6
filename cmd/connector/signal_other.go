//go:build !unix

package main

import "os"

// notifyUpgrade does nothing: the system has no signal for it, and no upgrade in place.
func notifyUpgrade(chan<- os.Signal) {}
