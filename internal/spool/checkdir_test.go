package spool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckDirSaysWhatOpenWouldSayAndChangesNothing(t *testing.T) {
	root := t.TempDir()
	missing := filepath.Join(root, "a", "b")
	if holder, err := CheckDir(missing); holder != "" || err != nil {
		t.Errorf("missing: %q, %v", holder, err)
	}
	if entries, _ := os.ReadDir(root); len(entries) != 0 {
		t.Errorf("it left %v", entries)
	}
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		if _, err := CheckDir(dir); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "file") {
			t.Errorf("%s: %v", dir, err)
		}
	}
	open := filepath.Join(root, "open")
	lock, _, err := openDir(open, false)
	if err != nil {
		t.Fatal(err)
	}
	if holder, err := CheckDir(open); !strings.HasPrefix(holder, "process ") || err != nil {
		t.Errorf("in use: %q, %v", holder, err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if holder, err := CheckDir(open); holder != "" || err != nil {
		t.Errorf("closed: %q, %v", holder, err)
	}
}
