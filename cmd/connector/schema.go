package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/schema"
)

// schemaNames are what people call the event types.
var schemaNames = map[string]schema.Type{
	"callpop":     schema.TypeCallPop,
	"session":     schema.TypeSessionChanged,
	"dead-letter": schema.TypeDeadLetter,
}

func schemaCommand(w *world) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [callpop|session|dead-letter]",
		Short: "Print the JSON Schema of an event's body",
		Long: `Print the JSON Schema (draft 2020-12) of an event's body: of CallPop, unless
another is named.`,
		Example: `  connector schema > callpop.v1.json
  connector schema session`,
		ValidArgs: []string{"callpop", "session", "dead-letter"},
		RunE: func(_ *cobra.Command, args []string) error {
			name := "callpop"
			if len(args) > 0 {
				name = args[0]
			}
			t, ok := schemaNames[name]
			if !ok || len(args) > 1 {
				return usageError{fmt.Errorf("schema %q: expected one of callpop, session, dead-letter", strings.Join(args, " "))}
			}
			_, err := w.stdout.Write(schema.JSONSchema(t))
			return err
		},
	}
}
