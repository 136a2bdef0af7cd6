package main

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/callpop/connector/source/lqsim"
)

func TestTheLogsLevelIsChangedAtRunTime(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	file := writeConfig(t, embeddedConfig, lq)
	d := start(t, file)
	ask := func(args ...string) result {
		return connector(t, "", append([]string{"log-level", "--config", file}, args...)...)
	}
	if r := ask(); r.code != exitGood || r.stdout != "info\n" {
		t.Errorf("code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if r := ask("debug", "-o", "json"); r.code != exitGood || r.stdout != `{"level":"debug","before":"info"}`+"\n" {
		t.Errorf("code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if d.level.Level() != slog.LevelDebug || strings.Count(d.stderr.String(), "the log's level was changed") != 1 {
		t.Errorf("level %v: %s", d.level.Level(), d.stderr)
	}
	if r := ask("loud"); r.code != exitUsage || !strings.Contains(r.stderr, `level "loud": expected debug, info, warn or error`) {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
	if r := ask("debug", "info"); r.code != exitUsage {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
	if r := ask(); r.code != exitFailed || !strings.Contains(r.stderr, "no connector runs on this spool") {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
}
