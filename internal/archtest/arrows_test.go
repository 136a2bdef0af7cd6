package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// module is the path that our own packages begin with.
const module = "github.com/callpop/connector"

// goPackage is what go list says of one package. Test files do not count.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

// arrow is what a group of packages may import of ours. Names are relative to the
// module; a name that ends in /... stands for all below it, and not itself.
type arrow struct {
	from    string
	to      []string
	stdOnly bool // nothing of third parties either
}

// anywhere may be imported by every package but one that is standard library
// only, and not by each other: of ours they import the contract at most.
func anywhere() []string {
	return []string{"internal/bytesize", "internal/certfile", "internal/httpstop", "internal/secret", "internal/tracing"}
}

// arrows are looked up from the top: the first that fits a package decides.
func arrows() []arrow {
	sides := []string{"schema", "source", "source/...", "sink", "sink/...", "internal/..."}
	return []arrow{
		{from: "schema", stdOnly: true},
		{from: "schema/consume", to: []string{"schema"}},
		{from: "schema/consume/...", to: []string{"schema", "schema/consume"}},
		{from: "internal/bytesize"},
		{from: "internal/certfile"},
		{from: "internal/httpstop"},
		{from: "internal/secret"},
		{from: "internal/tracing", to: []string{"schema"}},

		{from: "source/frame"},
		{from: "source/pop"},
		{from: "source/lqsim", to: []string{"source/frame", "source/pop"}},
		{from: "source", to: []string{"schema", "source/frame", "source/pop"}},
		{from: "source/...", to: []string{"schema", "source", "source/frame", "source/pop"}},

		{from: "internal/spool", to: []string{"schema"}},
		{from: "sink", to: []string{"schema", "internal/spool"}},
		{from: "sink/...", to: []string{"schema", "sink"}},

		{from: "internal/bench", to: []string{"schema", "source", "source/frame", "source/pop", "source/lqsim", "internal/spool"}},
		{from: "internal/control", to: []string{"schema", "sink", "internal/spool"}},
		{from: "internal/console", to: []string{"schema", "source/pop", "internal/..."}},
		{from: "internal/...", to: []string{"schema", "internal/..."}},
		{from: "config", to: sides},
		{from: "config/...", to: append([]string{"config"}, sides...)},
		{from: "cmd/...", to: append([]string{"config", "config/...", "cmd/..."}, sides...)},
		{from: "examples/internal/exampletest", to: []string{"schema", "source", "source/...", "internal/kafkatest", "internal/outputtest"}},
		// Tests of the chart, which load what it renders.
		{from: "charts", to: []string{"config"}},
		{from: "examples/...", to: []string{"schema", "schema/...", "examples/..."}},
	}
}

// reserved are modules that only some packages may know.
func reserved() []arrow {
	return []arrow{
		{from: "github.com/knadh/koanf", to: []string{"config", "config/...", "cmd/..."}},
		{from: "github.com/spf13/cobra", to: []string{"cmd/..."}},
	}
}

// violations checks our own packages among all, and returns one line for each
// import that goes against the arrows, sorted.
func violations(all []goPackage) []string {
	standard := map[string]bool{"C": true}
	for _, p := range all {
		if p.Standard {
			standard[p.ImportPath] = true
		}
	}
	var lines []string
	for _, p := range all {
		name, ours := relative(p.ImportPath)
		if !ours {
			continue
		}
		rules := arrows()
		i := slices.IndexFunc(rules, func(a arrow) bool { return matches(a.from, name) })
		if i < 0 {
			lines = append(lines, fmt.Sprintf("%s has no place in the table of arrows", name))
			continue
		}
		for _, imported := range p.Imports {
			if why := refuse(rules[i], name, imported, standard[imported]); why != "" {
				lines = append(lines, fmt.Sprintf("%s imports %s: %s", name, imported, why))
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// refuse says why a package may not import another; empty: it may.
func refuse(rule arrow, from, imported string, standard bool) string {
	if standard {
		return ""
	}
	if rule.stdOnly {
		return "only the standard library is allowed"
	}
	if name, ours := relative(imported); ours {
		if anyMatches(rule.to, name) || slices.Contains(anywhere(), name) && !slices.Contains(anywhere(), from) {
			return ""
		}
		return fmt.Sprintf("of ours it may import %s", strings.Join(append(slices.Clone(rule.to), anywhere()...), ", "))
	}
	for _, r := range reserved() {
		if (imported == r.from || strings.HasPrefix(imported, r.from+"/")) && !anyMatches(r.to, from) {
			return fmt.Sprintf("only %s may", strings.Join(r.to, ", "))
		}
	}
	return ""
}

// relative is a package's path within the module.
func relative(importPath string) (name string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func anyMatches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

func matches(pattern, name string) bool {
	if parent, below := strings.CutSuffix(pattern, "/..."); below {
		return strings.HasPrefix(name, path.Clean(parent)+"/")
	}
	return pattern == name
}
