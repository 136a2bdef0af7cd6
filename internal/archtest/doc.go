// Package archtest keeps the arrows between the connector's packages: data flows
// from sources through the spool to sinks, and no package knows what comes after
// it. Its test reads what `go list -deps` says of the whole module.
package archtest
