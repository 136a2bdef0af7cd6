package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/callpop/connector/internal/bytesize"
)

const (
	// maxFile is far more than a roster of a hundred thousand agents takes.
	maxFile = 4 << 20
	// maxNodes bounds what aliases may grow a file to, maxDepth how deep it may go.
	maxNodes = 1_000_000
	maxDepth = 32
	// maxExpanded bounds what variables may grow it to.
	maxExpanded = maxFile
)

// The values of a document, beside mappings, lists, strings and nil.
type (
	// literal is the source text of a number or of true or false. Converted to a
	// number too early, 010 would be 8.
	literal string
	// given is a text whose type depends on what it is given to: of a variable, a
	// flag, or a string with a variable in it. Its fields are exported for koanf,
	// which copies values by reflection.
	given struct {
		Text string
		// Shown is what messages show: the variable's name where the variable may
		// hold a secret.
		Shown string
	}
)

// document is a YAML file taken apart by its nodes, which know their lines.
type document struct {
	name string
	root *yaml.Node
	env  func(string) (string, bool)
	// asked are the variables that the document names.
	asked map[string]bool

	mistakes *mistakes
	nodes    int
	tooLarge bool
	expanded int
}

// readFile reads a file of a size that can be a configuration.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return text, nil
}

// parse reads text and returns its values. What is wrong goes to the mistakes;
// what is wrong beyond reading gives no values.
func (d *document) parse(text []byte) map[string]any {
	if len(text) > maxFile {
		d.fail(0, fmt.Sprintf("larger than %v: expected a configuration", bytesize.Size(maxFile)))
		return nil
	}
	if !utf8.Valid(text) {
		line := 1
		for rest := range bytes.Lines(text) {
			if !utf8.Valid(rest) {
				break
			}
			line++
		}
		d.fail(line, "not UTF-8 text: expected a configuration")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	switch err := decoder.Decode(&first); {
	case errors.Is(err, io.EOF):
		return map[string]any{}
	case err != nil:
		d.syntax(err)
		return nil
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		d.fail(second.Line, "a second document begins: expected one")
		return nil
	case !errors.Is(err, io.EOF):
		d.syntax(err)
		return nil
	}
	root := first.Content[0]
	if isNull(root) {
		return map[string]any{}
	}
	if root.Kind != yaml.MappingNode {
		d.fail(root.Line, "the file is "+kindOf(root)+": expected keys and values, such as sources and sinks")
		return nil
	}
	d.root = root
	values, ok := d.value(nil, root, 0).(map[string]any)
	if !ok || d.tooLarge || d.mistakes.full() {
		return nil
	}
	return values
}

func (d *document) fail(line int, message string) {
	d.mistakes.push(&Error{File: d.name, Line: line, message: message})
}

var syntaxLine = regexp.MustCompile(`^line ([0-9]+): (.*)$`)

// syntax reports what the parser does not understand.
func (d *document) syntax(err error) {
	text := strings.TrimPrefix(oneLine(err.Error()), "yaml: ")
	line := 1 // the parser names every line but the first
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	if strings.HasPrefix(text, "unknown anchor") {
		// The parser shows the anchor, which is a password that starts with *.
		line, text = 0, "an alias without its anchor: a text that starts with * needs quotes"
	}
	if strings.HasPrefix(text, "control characters") {
		line = 0
	}
	d.fail(line, "not YAML: "+text)
}

// enter counts a node; false means that the document is too large to go on.
func (d *document) enter(node *yaml.Node, depth int) bool {
	d.nodes++
	if !d.tooLarge && (d.nodes > maxNodes || depth > maxDepth) {
		d.tooLarge = true
		d.fail(node.Line, fmt.Sprintf("more than %d values or %d levels, aliases included: expected a configuration", maxNodes, maxDepth))
	}
	// What follows on that many mistakes would not be read by anyone.
	return !d.tooLarge && !d.mistakes.full()
}

// value is what is at node, which stands at p.
func (d *document) value(p *path, node *yaml.Node, depth int) any {
	if !d.enter(node, depth) {
		return nil
	}
	switch node.Kind {
	case yaml.AliasNode:
		return d.value(p, node.Alias, depth+1)
	case yaml.MappingNode:
		values := make(map[string]any, len(node.Content)/2)
		d.mapping(p, node, depth, values, map[string]int{})
		return values
	case yaml.SequenceNode:
		values := make([]any, 0, len(node.Content))
		for i, entry := range node.Content {
			values = append(values, d.value(p.entry(i), entry, depth+1))
		}
		return values
	default:
		return d.scalar(p, node)
	}
}

// mapping adds what is in node to values. seen are the lines of the keys that node
// has itself; nil while merging, where keys that are there already win.
func (d *document) mapping(p *path, node *yaml.Node, depth int, values map[string]any, seen map[string]int) {
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		if key.Kind != yaml.ScalarNode {
			d.fail(key.Line, fmt.Sprintf("a key is %s: expected text", kindOf(key)))
			continue
		}
		at := p.at(key.Value)
		if line, twice := seen[key.Value]; twice {
			if !d.mistakes.full() {
				d.mistakes.push(&Error{
					File: d.name, Line: key.Line, Key: at.String(),
					message: fmt.Sprintf("%v is given twice, first in line %d", at, line),
				})
			}
			continue
		}
		if seen != nil {
			seen[key.Value] = key.Line
		} else if _, wins := values[key.Value]; wins {
			continue
		}
		values[key.Value] = d.value(at, value, depth+1)
	}
	for _, from := range merged {
		d.merge(p, from, depth+1, values)
	}
}

// merge adds what a merge key brings: a mapping, or a list of them, of which the
// first wins.
func (d *document) merge(p *path, from *yaml.Node, depth int, values map[string]any) {
	if !d.enter(from, depth) {
		return
	}
	switch from := resolve(from); from.Kind {
	case yaml.MappingNode:
		d.mapping(p, from, depth+1, values, nil)
	case yaml.SequenceNode:
		for _, one := range from.Content {
			d.merge(p, one, depth+1, values)
		}
	default:
		d.fail(from.Line, fmt.Sprintf("<< is %s: expected an alias of a mapping", kindOf(from)))
	}
}

func (d *document) scalar(p *path, node *yaml.Node) any {
	switch node.ShortTag() {
	case "!!null":
		return nil
	case "!!bool", "!!int", "!!float":
		return literal(node.Value)
	case "!!str", "!!timestamp":
		text, changed, err := d.expand(node.Value)
		if err != nil {
			d.mistakes.add(p, Error{message: fmt.Sprintf("%v: %v", p, err)})
			return unknown{}
		}
		if d.expanded > maxExpanded && !d.tooLarge {
			d.tooLarge = true
			d.fail(node.Line, fmt.Sprintf("more than %v of variables: expected a configuration", bytesize.Size(maxExpanded)))
		}
		if changed {
			return given{Text: text, Shown: quote(node.Value)}
		}
		return text
	default:
		// The tag is not shown: it is a password that starts with an exclamation mark.
		d.mistakes.add(p, Error{message: fmt.Sprintf("%v has a tag: a text that starts with ! needs quotes", p)})
		return unknown{}
	}
}

// unknown is a value that could not be read; a mistake says why.
type unknown struct{}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

func kindOf(node *yaml.Node) string {
	switch resolve(node).Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}
