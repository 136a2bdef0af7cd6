package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxRosterFile bounds a file of agents: far more than a hundred thousand take.
const MaxRosterFile = 4 << 20

// ReadRosterFile reads a file of agents, see [ParseRosterFile]. The error names
// the file, and the line where it is in one.
func ReadRosterFile(name string) (Roster, error) {
	f, err := os.Open(name) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, MaxRosterFile+1))
	if err != nil {
		return nil, err
	}
	roster, err := ParseRosterFile(text)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", name, err)
	}
	return roster, nil
}

// ParseRosterFile reads agents in the forms of [ParseRoster], either one on each
// line, where # begins a comment and empty lines do not count, or as a YAML list,
// which begins with - or [.
//
// A text without any agent is an error, since a file that was just being written
// must not close every session: a list that is meant to be empty is written [].
// The error begins with the line.
func ParseRosterFile(text []byte) (Roster, error) {
	if len(text) > MaxRosterFile {
		return nil, fmt.Errorf("1: larger than %d bytes: expected a list of agents", MaxRosterFile)
	}
	if !utf8.Valid(text) {
		return nil, errors.New("1: not UTF-8 text: expected a list of agents")
	}
	b := rosterBuilder{first: map[string]string{}}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, MaxRosterFile+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(cutComment(strings.TrimPrefix(lines.Text(), "\ufeff")))
		if line == "" {
			continue
		}
		if len(b.first) == 0 && (line == "---" || line == "-" || strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "[")) {
			return parseRosterYAML(text)
		}
		var entry any = line
		if strings.HasPrefix(line, "{") {
			var node yaml.Node
			if err := yaml.Unmarshal([]byte(line), &node); err != nil || len(node.Content) == 0 {
				return nil, fmt.Errorf("%d: %q: %s", n, line, entryForms)
			}
			entry = plainNode(node.Content[0])
		}
		if err := b.add(fmt.Sprint(n), entry); err != nil {
			return nil, err
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("1: %w", err)
	}
	if len(b.roster) == 0 {
		return nil, errors.New("1: no agent: expected one on each line, or a YAML list; one that is meant to be empty is written []")
	}
	return b.roster, nil
}

func cutComment(line string) string {
	if at := strings.IndexByte(line, '#'); at == 0 || at > 0 && (line[at-1] == ' ' || line[at-1] == '\t') {
		return line[:at]
	}
	return line
}

func parseRosterYAML(text []byte) (Roster, error) {
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("1: not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(file.Content) == 0 {
		return nil, errors.New("1: expected a list of agents")
	}
	list := file.Content[0]
	if list.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("%d: expected a list of agents", list.Line)
	}
	b := rosterBuilder{first: map[string]string{}}
	for _, node := range list.Content {
		if err := b.add(fmt.Sprint(node.Line), plainNode(node)); err != nil {
			return nil, err
		}
	}
	return b.roster, nil
}

// plainNode gives an entry with its numbers as they are written: agent 0801 is
// not 801.
func plainNode(node *yaml.Node) any {
	switch {
	case node.Kind == yaml.ScalarNode && node.ShortTag() != "!!null" && node.ShortTag() != "!!bool":
		return node.Value
	case node.Kind == yaml.MappingNode:
		entry := make(map[string]any, len(node.Content)/2)
		for i := 0; i+1 < len(node.Content); i += 2 {
			entry[node.Content[i].Value] = plainNode(node.Content[i+1])
		}
		return entry
	default:
		return nil
	}
}
