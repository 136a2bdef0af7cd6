package documents

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
)

// outline is what a document says in either language alike.
type outline struct {
	// headings are their levels.
	headings []int
	// blocks are the fenced blocks, with their language first.
	blocks []string
	// names are the code spans: commands, keys, fields, metrics.
	names []string
	// links are where links lead to, without the language.
	links []string
	// tables are their sizes, as rows x columns.
	tables []string
}

const chineseSuffix = ".zh-CN.md"

// parse reads a document's outline.
func parse(source []byte) (o outline) {
	document := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	lines := func(n ast.Node) string {
		var b strings.Builder
		for i := range n.Lines().Len() {
			line := n.Lines().At(i)
			b.Write(line.Value(source))
		}
		return b.String()
	}
	// The walk has no error of its own.
	_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			o.headings = append(o.headings, n.Level)
		case *ast.FencedCodeBlock:
			o.blocks = append(o.blocks, string(n.Language(source))+"\n"+lines(n))
		case *ast.CodeBlock:
			o.blocks = append(o.blocks, "\n"+lines(n))
		case *ast.CodeSpan:
			var b strings.Builder
			for c := n.FirstChild(); c != nil; c = c.NextSibling() {
				if t, ok := c.(*ast.Text); ok {
					b.Write(t.Segment.Value(source))
				}
			}
			o.names = append(o.names, b.String())
		case *extast.Table:
			o.tables = append(o.tables, fmt.Sprintf("%dx%d", n.ChildCount(), len(n.Alignments)))
		case *ast.Link:
			to := string(n.Destination)
			if i := strings.IndexByte(to, '#'); i >= 0 && !strings.Contains(to, "://") {
				to = to[:i] // headings are named otherwise
			}
			o.links = append(o.links, strings.Replace(to, chineseSuffix, ".md", 1))
		}
		return ast.WalkContinue, nil
	})
	// Languages put words in orders of their own.
	slices.Sort(o.names)
	slices.Sort(o.links)
	return o
}

// pairs are the documents that stand in both languages, by their English files.
func pairs(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(file string) bool { return strings.HasSuffix(file, chineseSuffix) })
	return append(all, "../../README.md", "../../examples/README.md")
}

func TestBothLanguagesSayTheSame(t *testing.T) {
	for _, file := range pairs(t) {
		other := strings.TrimSuffix(file, ".md") + chineseSuffix
		t.Run(strings.TrimPrefix(file, "../../"), func(t *testing.T) {
			var outlines [2]outline
			for i, name := range []string{file, other} {
				source, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				outlines[i] = parse(source)
			}
			en, zh := outlines[0], outlines[1]
			if !slices.Equal(en.headings, zh.headings) {
				t.Errorf("the levels of the headings are %v, in Chinese %v", en.headings, zh.headings)
			}
			if len(en.headings) == 0 {
				t.Error("no headings")
			}
			if !slices.Equal(en.tables, zh.tables) {
				t.Errorf("the sizes of the tables are %v, in Chinese %v", en.tables, zh.tables)
			}
			compare(t, "code block", en.blocks, zh.blocks)
			compare(t, "name", en.names, zh.names)
			compare(t, "link", en.links, zh.links)
		})
	}
}

// compare reports what only one of the languages has.
func compare(t *testing.T, what string, en, zh []string) {
	t.Helper()
	count := map[string]int{}
	for _, s := range en {
		count[s]++
	}
	for _, s := range zh {
		count[s]--
	}
	for s, n := range count {
		switch {
		case n > 0:
			t.Errorf("%d of the %s %q are missing in Chinese", n, what, s)
		case n < 0:
			t.Errorf("%d of the %s %q are in Chinese only", -n, what, s)
		}
	}
}

// TestTheMetricsAreTheSameInBothLanguages looks at what is not translated of them:
// their names, kinds and labels. A test of cmd/connector compares the English table
// with the code.
func TestTheMetricsAreTheSameInBothLanguages(t *testing.T) {
	var tables [2][]string
	for i, name := range []string{"../../docs/operations.md", "../../docs/operations" + chineseSuffix} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			if cells := strings.Split(line, "|"); len(cells) == 5 && (strings.Contains(cells[1], "`callpop_") || strings.Contains(cells[1], "`messaging_")) {
				tables[i] = append(tables[i], cells[1]+"|"+cells[2])
			}
		}
	}
	if len(tables[0]) < 40 {
		t.Errorf("only %d metrics were found", len(tables[0]))
	}
	compare(t, "metric", tables[0], tables[1])
}

// TestLinksLeadSomewhere looks at the links between files of this repository.
func TestLinksLeadSomewhere(t *testing.T) {
	files := pairs(t)
	for _, file := range slices.Clone(files) {
		files = append(files, strings.TrimSuffix(file, ".md")+chineseSuffix)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			continue // TestBothLanguagesSayTheSame says so
		}
		document := goldmark.DefaultParser().Parse(text.NewReader(source))
		_ = ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
			link, ok := n.(*ast.Link)
			if !ok || !entering {
				return ast.WalkContinue, nil
			}
			to, heading, _ := strings.Cut(string(link.Destination), "#")
			if strings.Contains(to, "://") {
				return ast.WalkContinue, nil
			}
			if to = filepath.Join(filepath.Dir(file), to); link.Destination[0] == '#' {
				to = file
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", file, to)
			} else if heading != "" && !slices.Contains(anchors(t, to), heading) {
				t.Errorf("%s: %s has no heading #%s", file, to, heading)
			}
			return ast.WalkContinue, nil
		})
	}
}

// anchors are the names that GitHub gives to a document's headings.
func anchors(t *testing.T, file string) (names []string) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fenced := false
	for line := range strings.Lines(string(source)) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		heading := strings.TrimLeft(line, "#")
		if fenced || heading == line {
			continue
		}
		names = append(names, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading)))
	}
	return names
}

func TestADifferenceBetweenTheLanguagesIsFound(t *testing.T) {
	const english = "# A\n\n`run` it, [here](x.md#there)\n\n```sh\nconnector run\n```\n\n## B\n"
	en := parse([]byte(english))
	same := parse([]byte("# 甲\n\n见[这里](x.zh-CN.md#那里), `run`\n\n```sh\nconnector run\n```\n\n## 乙\n"))
	if !slices.Equal(en.headings, same.headings) || !slices.Equal(en.blocks, same.blocks) ||
		!slices.Equal(en.names, same.names) || !slices.Equal(en.links, same.links) {
		t.Errorf("%+v and %+v, want the same", en, same)
	}
	for _, changed := range []string{
		strings.Replace(english, "## B", "### B", 1), strings.Replace(english, "connector run", "connector runs", 1),
		strings.Replace(english, "`run`", "`walk`", 1), strings.Replace(english, "x.md", "y.md", 1),
	} {
		other := parse([]byte(changed))
		if slices.Equal(en.headings, other.headings) && slices.Equal(en.blocks, other.blocks) &&
			slices.Equal(en.names, other.names) && slices.Equal(en.links, other.links) {
			t.Errorf("%q counts as the same", changed)
		}
	}
}
