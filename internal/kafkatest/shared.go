package kafkatest

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
)

// Shared is one cluster for the tests of a package, started when the first of
// them asks for it. Its zero value is ready; [Shared.Run] must run the tests.
type Shared struct {
	start   sync.Once
	dir     string
	cluster *Cluster
	err     error
	m       interface{ Run() int }
}

// Around makes s run the tests of m and then end the cluster: for TestMain, as
// goleak.VerifyTestMain(broker.Around(m)).
func (s *Shared) Around(m interface{ Run() int }) *Shared {
	s.m = m
	return s
}

// Run runs the tests and ends the cluster.
func (s *Shared) Run() int {
	code := s.m.Run()
	if s.cluster != nil {
		s.cluster.close()
	}
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
	return code
}

// Cluster returns the package's cluster: the brokers of KAFKA_BROKERS, else one
// broker of our own. Where neither can be had the test is skipped, or fails with
// CI=true. Tests must not stop its brokers, and use topics of their own.
func (s *Shared) Cluster(t testing.TB) *Cluster {
	t.Helper()
	if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" {
		return &Cluster{external: strings.Split(brokers, ",")}
	}
	return s.Local(t)
}

// Local is as Cluster, but never the brokers of KAFKA_BROKERS: for tests that
// need the listeners, users and certificates of our own.
func (s *Shared) Local(t testing.TB) *Cluster {
	t.Helper()
	if os.Getenv("KAFKA_BROKERS") != "" {
		t.Skip("needs listeners of its own, and KAFKA_BROKERS names brokers that run already")
	}
	s.start.Do(func() {
		// The cluster outlives the test that starts it, its context and its
		// temporary directory.
		var dist *distribution
		if dist, s.err = findDistribution(t.Context()); s.err != nil {
			return
		}
		if s.dir, s.err = os.MkdirTemp("", "kafkatest-*"); s.err != nil {
			return
		}
		s.cluster, s.err = start(context.WithoutCancel(t.Context()), dist, s.dir, Options{})
	})
	if s.err != nil {
		unavailable(t, s.err)
	}
	return s.cluster
}
