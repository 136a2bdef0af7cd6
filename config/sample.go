package config

import (
	_ "embed"
	"slices"
)

//go:embed connector.yaml
var sample []byte

// Sample is a configuration file with every key, its default and why it is what it
// is. It loads; what is in it beside the defaults is an example.
func Sample() []byte { return slices.Clone(sample) }
