package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheConfigurationsOfTheDocumentsLoad takes every YAML block of the README and
// of docs that is a configuration: what a reader copies works.
func TestTheConfigurationsOfTheDocumentsLoad(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range append(files, "../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(text), "```yaml\n")
		for i, block := range blocks[1:] {
			block, _, ok := strings.Cut(block, "```")
			if !ok || !strings.Contains(block, "sources:") {
				continue
			}
			found++
			if _, err := loadText(block, "KAFKA_PASSWORD=x"); err != nil {
				t.Errorf("%s, block %d: %v", file, i+1, err)
			}
		}
	}
	if found < 2 {
		t.Errorf("only %d configurations in %v", found, files)
	}
}
