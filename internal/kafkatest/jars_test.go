package kafkatest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWhatIsMissingIsNamed(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	t.Setenv("JAVA_HOME", "")
	t.Setenv("KAFKA_VERSION", "")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	check := func(want string) {
		t.Helper()
		_, err := findDistribution(t.Context())
		if !errors.Is(err, errMissing) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line that says %q", err, want)
		}
	}
	java := func(version string) {
		t.Helper()
		script := "#!/bin/sh\necho '    java.specification.version = " + version + "'\n"
		if err := os.WriteFile(filepath.Join(bin, "java"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	check("Java 17 or newer")
	java("11")
	check("is Java 11")
	java("1.8")
	check("is Java 1.8")
	java("21")
	check("Maven")
	t.Setenv("KAFKA_VERSION", "../4")
	if _, err := findDistribution(t.Context()); err == nil || !strings.Contains(err.Error(), "KAFKA_VERSION") {
		t.Errorf("got %v, want an error about KAFKA_VERSION", err)
	}
}

// recorder is a test that notes how it ended.
type recorder struct {
	testing.TB
	skipped, failed bool
}

func (r *recorder) Helper()      {}
func (r *recorder) Skip(...any)  { r.skipped = true }
func (r *recorder) Fatal(...any) { r.failed = true }

func TestWhatIsMissingSkipsATestAndFailsItInCI(t *testing.T) {
	other := errors.New("the disk is full")
	for _, test := range []struct {
		ci            string
		err           error
		skips, failed bool
	}{
		{"", errMissing, true, false},
		{"true", errMissing, false, true},
		{"", other, false, true},
	} {
		t.Setenv("CI", test.ci)
		var r recorder
		// The recorder does not end the goroutine as a test would, so that only
		// what comes first counts.
		unavailable(&r, test.err)
		if r.failed != test.failed || !r.failed && !r.skipped {
			t.Errorf("CI=%q, %v: failed %v, skipped %v", test.ci, test.err, r.failed, r.skipped)
		}
	}
}
