//go:build !race

package spool

// leastSync is the least time between two syncs.
const leastSync = 0
