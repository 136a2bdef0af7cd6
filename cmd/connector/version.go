package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker, see the Makefile.
var (
	version = ""
	commit  = ""
	date    = ""
)

// build says what this binary was made of.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Date    string `json:"date,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func thisBuild() build {
	b := build{Version: version, Commit: commit, Date: date, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok && b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	if b.Version == "" {
		b.Version = "development"
	}
	return b
}

func versionCommand(w *world) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:     "version",
		Short:   "Say which build this is",
		Example: "  connector version -o json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			b := thisBuild()
			if output == "json" {
				return json.NewEncoder(w.stdout).Encode(b)
			}
			_, err := fmt.Fprintf(w.stdout, "connector %s", b.Version)
			if b.Commit != "" {
				_, err = fmt.Fprintf(w.stdout, " (%s, %s)", b.Commit, b.Date)
			}
			if err == nil {
				_, err = fmt.Fprintf(w.stdout, " %s %s/%s\n", b.Go, b.OS, b.Arch)
			}
			return err
		},
	}
	outputFlag(c, &output)
	return c
}
