package main

import (
	"context"
	"slices"
	"sync"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/watch"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/session"
)

// follow reloads when files change and when a signal asks for it, until ctx is
// done.
func (d *daemon) follow(ctx context.Context) {
	changed := make(chan []string)
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch.Files(ctx, func() []string {
			c := d.running.Load()
			if !c.Watch {
				return nil
			}
			return c.Files()
		}, func(names []string) {
			select {
			case changed <- names:
			case <-ctx.Done():
			}
		})
	}()
	defer func() { <-done }()
	var upgrades sync.WaitGroup
	defer upgrades.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.reloading.hangup:
			d.reload(ctx, "SIGHUP")
		case <-d.reloading.upgrade:
			upgrades.Go(func() {
				if _, err := d.Upgrade(ctx, control.UpgradeRequest{}); err != nil {
					d.log.Error("the upgrade that SIGUSR2 asked for failed: this process goes on", "error", err)
				}
			})
		case names := <-changed:
			d.followFiles(ctx, names)
		}
	}
}

func (d *daemon) followFiles(ctx context.Context, names []string) {
	file := d.running.Load().File
	if slices.Contains(names, file) && (!d.isRunning(file) || d.wasRefused()) {
		d.reload(ctx, "the file changed")
	}
	for _, s := range sessionsOf(d.running.Load()) {
		if s.AgentsFile != "" && slices.Contains(names, s.AgentsFile) {
			d.followRoster(s.Name, s.AgentsFile)
		}
	}
}

// wasRefused reports whether the last reload was: when its mistake is taken back,
// that has to be said.
func (d *daemon) wasRefused() bool {
	last := d.lastReload.Load()
	return last != nil && last.Outcome == control.Refused
}

// isRunning reports whether a file is the one in force, byte for byte.
func (d *daemon) isRunning(file string) bool {
	digest, err := config.Digest(file)
	return err == nil && digest == d.running.Load().Digest
}

// followRoster takes over what a source's file of agents has now. A file that is
// gone or wrong changes nothing, and that is said.
func (d *daemon) followRoster(name, file string) {
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	running := d.running.Load()
	i := slices.IndexFunc(sessionsOf(running), func(s *session.Config) bool { return s.Name == name })
	if i < 0 || d.reloading.sources == nil {
		return
	}
	read, err := source.ReadRosterFile(file)
	var next *config.Config
	if err == nil {
		if slices.Equal(read, sessionsOf(running)[i].Read) && !d.desk.problem(name, "") {
			return // as it was read at the start, or by a reload
		}
		next, err = running.WithRoster(name, read)
	}
	if err != nil {
		d.desk.problem(name, err.Error())
		d.log.Error("agents_file is gone or wrong: the roster stays as it was", "source", name, "error", err)
		d.countReload("roster", control.Refused)
		return
	}
	d.desk.problem(name, "")
	d.running.Store(next)
	done := d.applyRosters(next, source.CauseRoster)
	d.log.Info("agents_file was read again", "source", name, "file", file, "agents", len(read),
		"opened", done.Opened, "closed", done.Closed, "reopened", done.Reopened)
	d.countReload("roster", control.Applied)
}

// problem notes what is wrong with a source's file, or that nothing is; it reports
// whether anything was.
func (k *desk) problem(name, text string) (was bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, was = k.problems[name]
	if delete(k.problems, name); text != "" {
		k.problems[name] = text
	}
	return was
}
