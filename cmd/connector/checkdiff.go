package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/source"
)

// checkDiff shows what a reload with a file would do.
func checkDiff(ctx context.Context, w *world, file, old, output string) error {
	ctx, cancel := w.stopping(ctx)
	defer cancel()
	to, err := loadConfig(w, file)
	if err != nil {
		return err
	}
	var changes control.Changes
	if old != "" {
		changes, err = compareFiles(w, old, to)
	} else {
		changes, err = askPlan(ctx, to)
	}
	if err != nil {
		return err
	}
	if output == "json" {
		return json.NewEncoder(w.stdout).Encode(changes)
	}
	_, err = fmt.Fprint(w.stdout, planText(changes))
	return err
}

// compareFiles is the plan from one file to another. What was set by HTTP is not
// in it.
func compareFiles(w *world, old string, to *config.Config) (control.Changes, error) {
	from, err := loadConfig(w, old)
	if err != nil {
		return control.Changes{}, err
	}
	plan, err := config.Compare(from, to)
	if err != nil {
		return control.Changes{}, err
	}
	return changesOf(from, plan, configured(from), configured(plan.Next)), nil
}

// configured are the rosters that a configuration has this replica hold.
func configured(c *config.Config) map[string]source.Roster {
	whole := map[string]source.Roster{}
	for _, s := range sessionsOf(c) {
		whole[s.Name] = s.Configured()
	}
	return rosters(c, whole, c.Replicas.Holds)
}

// askPlan has the running connector say what it would do. It reads the file itself:
// its environment is what counts.
func askPlan(ctx context.Context, to *config.Config) (control.Changes, error) {
	file, err := filepath.Abs(to.File)
	if err != nil {
		return control.Changes{}, err
	}
	c, err := runningConnector(to.Spool.Dir)
	if err != nil {
		return control.Changes{}, fmt.Errorf("%w; to compare with a file, name it: --diff OLD", err)
	}
	defer func() { _ = c.Close(ctx) }() // it holds nothing
	return control.CallOne(ctx, c, control.Plan, control.PlanRequest{File: file})
}
