package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Input is where a configuration comes from.
type Input struct {
	// File is the path of the YAML file; empty for none.
	File string
	// Environ is the environment, as os.Environ gives it.
	Environ []string
	// Flags are a command's flags, of which those that were given count; may be
	// nil. FlagKeys maps their names to the keys that they set: log-level to
	// log.level. Flags that are not in it are no settings.
	Flags    *pflag.FlagSet
	FlagKeys map[string]string
}

// Load reads, merges and checks a configuration. The error is one of the file
// system where the file cannot be read, else [Errors] with every mistake. It wraps
// session.ErrNoRegistration where a session has no registration, which says how
// to come by one. Nothing is dialled, listened on or written; the files that keys
// name are read.
func Load(in Input) (*Config, error) {
	var text []byte
	if in.File != "" {
		var err error
		if text, err = readFile(in.File); err != nil {
			return nil, err
		}
	}
	return load(in, text)
}

// Digest is the SHA-256 of a configuration file, in hex, as [Config.Digest] has it.
func Digest(file string) (string, error) {
	text, err := readFile(file)
	if err != nil {
		return "", err
	}
	return digest(text), nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// loader merges the layers and remembers where each value came from.
type loader struct {
	mistakes *mistakes
	document *document
	// file are the values of the file.
	file map[string]any
	// settings are the variables and flags that set keys.
	settings map[string]string
}

func load(in Input, text []byte) (*Config, error) {
	l := &loader{mistakes: &mistakes{}, settings: map[string]string{}}
	l.mistakes.locate = l.locate
	l.document = &document{name: in.File, env: lookup(in.Environ), asked: map[string]bool{}, mistakes: l.mistakes}
	if l.file = l.document.parse(text); l.file == nil {
		return nil, l.mistakes.err()
	}
	// A new instance for each load: koanf's are not safe to read while they change.
	merged := koanf.New(".")
	layers := []koanf.Provider{confmap.Provider(l.file, ""), l.environment(in.Environ, l.document.asked)}
	if in.Flags != nil {
		layers = append(layers, l.flags(in.Flags, in.FlagKeys))
	}
	for _, layer := range layers {
		if err := merged.Load(layer, nil); err != nil {
			return nil, fmt.Errorf("merge the configuration: %w", err)
		}
	}
	d := &decoder{mistakes: l.mistakes}
	c := d.root(merged.Raw())
	d.rosterFiles(c)
	if in.File != "" {
		c.File, c.Digest = in.File, digest(text)
	}
	c.check(l.mistakes)
	if err := l.mistakes.err(); err != nil {
		return nil, err
	}
	return c, nil
}

func lookup(environ []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		// The last one wins, as in os/exec.
		for _, variable := range slices.Backward(environ) {
			if value, ok := strings.CutPrefix(variable, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

// flags is the layer of the flags that were given.
func (l *loader) flags(flags *pflag.FlagSet, keys map[string]string) koanf.Provider {
	// Without an instance of koanf the provider leaves out the flags that have
	// their defaults: the defaults are those of the Config.
	return posflag.ProviderWithFlag(flags, ".", nil, func(f *pflag.Flag) (string, any) {
		key, ok := keys[f.Name]
		if !ok || !f.Changed || !l.open(key) {
			return "", nil
		}
		l.settings[key] = "--" + f.Name
		return key, given{Text: f.Value.String(), Shown: quote(f.Value.String())}
	})
}

// open says whether the file leaves room for a key: what stands above it must be a
// mapping, or merging would hide the mistake.
func (l *loader) open(key string) bool {
	values := l.file
	sections := strings.Split(key, ".")
	for _, section := range sections[:len(sections)-1] {
		value, ok := values[section]
		if !ok {
			return true
		}
		if values, ok = value.(map[string]any); !ok {
			return false
		}
	}
	return true
}

// locate says where the value at p came from: the nearest place that is known.
func (l *loader) locate(p *path, e *Error) {
	for at := p; at != nil; at = at.up {
		if setting, ok := l.settings[at.String()]; ok {
			e.Setting = setting
			return
		}
	}
	e.File = l.document.name
	for at := p; ; at = at.up {
		if name := l.document.find(at); name != nil {
			// The whole file is no place to look at.
			if at != nil {
				e.Line = name.Line
			}
			return
		}
		if at == nil {
			return
		}
	}
}
