package secret

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNoWayOfPrintingShowsTheSecret(t *testing.T) {
	v := New("hunter2")
	in := struct{ Password Value }{v}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "password", v, "in", in)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "password", v, "in", in)
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{v.String(), string(body), log.String(), fmt.Sprint(&in), fmt.Errorf("login %v", v).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed = append(printed, fmt.Sprintf(verb, v), fmt.Sprintf(verb, in))
	}
	for _, p := range printed {
		if strings.Contains(p, "hunter2") || strings.Contains(p, "68756e74657232") {
			t.Errorf("printed %q", p)
		}
	}
	if got := v.Reveal(); got != "hunter2" {
		t.Errorf("Reveal() = %q", got)
	}
	if New("").String() != "" {
		t.Error("an empty secret shows a placeholder")
	}
}

func TestASecretIsReadFromAFileWithoutItsLineEnd(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	v, err := ReadFile(write("token", " hunter2 \r\n"))
	if err != nil || v.Reveal() != " hunter2 " {
		t.Errorf("got %q, %v", v.Reveal(), err)
	}
	for _, path := range []string{
		write("empty", "\n"), write("long", strings.Repeat("x", maxFile+1)), filepath.Join(dir, "missing"), dir,
	} {
		if _, err := ReadFile(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
