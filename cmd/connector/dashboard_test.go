package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dashboardFile is what the chart installs and what anyone may import as it is.
var dashboardFile = filepath.Join("..", "..", "charts", "connector", "files", "dashboard.json")

// panel is as much of a Grafana panel as matters here.
type panel struct {
	ID          int
	Title, Type string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ Type, UID string }
	Targets     []struct {
		RefID, Expr string
		Datasource  struct{ Type, UID string }
	}
}

type dashboard struct {
	UID           string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Annotations struct {
		List []struct{ Name, Expr string }
	}
}

func readDashboard(t testing.TB) dashboard {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestTheDashboardIsOneThatGrafanaTakesAnywhere(t *testing.T) {
	board := readDashboard(t)
	if board.UID != "" || board.SchemaVersion < 39 {
		t.Errorf("uid %q, schema version %d", board.UID, board.SchemaVersion)
	}
	var names []string
	for _, v := range board.Templating.List {
		names = append(names, v.Name)
	}
	if want := []string{"datasource", "job", "instance", "server", "sink"}; !slices.Equal(names, want) {
		t.Errorf("variables %v, want %v", names, want)
	}
	ids := map[int]bool{}
	type cell struct{ x, y int }
	taken := map[cell]string{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: id %d is there twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, is := taken[cell{x, y}]; is || x >= 24 {
					t.Fatalf("panel %q lies over %q, or beyond the edge", p.Title, other)
				}
				taken[cell{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "${datasource}" || p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q: datasource %q, description %q, %d queries", p.Title, p.Datasource.UID, p.Description, len(p.Targets))
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" || !strings.Contains(target.Expr, `job=~"$job",instance=~"$instance"`) {
				t.Errorf("panel %q, query %s: %q of %q", p.Title, target.RefID, target.Expr, target.Datasource.UID)
			}
		}
	}
}
