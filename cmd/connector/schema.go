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

// asyncAPIName is what people call the document of all channels.
const asyncAPIName = "asyncapi"

func schemaCommand(w *world) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [callpop|session|dead-letter|asyncapi]",
		Short: "Print the JSON Schema of an event's body, or the AsyncAPI document",
		Long: `Print the JSON Schema (draft 2020-12) of an event's body: of CallPop, unless
another is named. asyncapi prints the AsyncAPI 3.1 document of all subjects,
topics, headers and messages, which refers to the three schemas as files next to
it: callpop.v1.json, callpop.session.v1.json and callpop.dlq.v1.json.`,
		Example: `  connector schema > callpop.v1.json
  connector schema session
  connector schema asyncapi > asyncapi.yaml`,
		ValidArgs: []string{"callpop", "session", "dead-letter", asyncAPIName},
		RunE: func(_ *cobra.Command, args []string) error {
			name := "callpop"
			if len(args) > 0 {
				name = args[0]
			}
			t, ok := schemaNames[name]
			if !ok && name != asyncAPIName || len(args) > 1 {
				return usageError{fmt.Errorf("schema %q: expected one of callpop, session, dead-letter, asyncapi", strings.Join(args, " "))}
			}
			document := schema.AsyncAPI()
			if ok {
				document = schema.JSONSchema(t)
			}
			_, err := w.stdout.Write(document)
			return err
		},
	}
}
