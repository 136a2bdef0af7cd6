package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/feed"
	"github.com/callpop/connector/source/callback"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

func feedCommand(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "feed",
		Short: "Tokens of the agent feed",
		Long: `The agent feed brings an agent's pops to a web page or a CRM: docs/feed.md.
Each agent's page needs a token, which this command or any JWT library makes.`,
	}
	c.AddCommand(feedTokenCommand(w))
	return c
}

// maxTokenTime is as long as anybody should have to remember a token.
const maxTokenTime = 366 * 24 * time.Hour

func feedTokenCommand(w *world) *cobra.Command {
	var file, server, agent, output string
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "token",
		Short: "Make a token that reads one agent's pops",
		Long: `Make a token, signed with feed.signing_key of the configuration, that reads the
pops of one agent of one server until its time is over. A CRM that knows the key
makes the same by itself: a JWT, HS256, with the claims server, agent and exp.
A token cannot be taken back but by another signing key.`,
		Example: `  connector feed token --config connector.yaml --server hq --agent 801 --ttl 12h`,
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			if err := cmpUsage(checkOutput(output), checkTokenFlags(server, agent, ttl)); err != nil {
				return err
			}
			loaded, err := loadConfig(w, file)
			if err != nil {
				return err
			}
			if loaded.Feed.SigningKey.IsZero() {
				return fmt.Errorf("%s has no feed.signing_key: expected the key that tokens are signed with", file)
			}
			if names := serverNames(loaded); !slices.Contains(names, server) {
				return usageError{fmt.Errorf("--server is %q: expected one of %q, whose pops the sources take", server, names)}
			}
			expires := time.Now().Add(ttl).Truncate(time.Second)
			token, err := feed.Sign(loaded.Feed.SigningKey, server, agent, expires)
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(w.stdout).Encode(struct {
					Token     string    `json:"token"`
					Server    string    `json:"server"`
					Agent     string    `json:"agent"`
					ExpiresAt time.Time `json:"expires_at"`
				}{token, server, agent, expires.UTC()})
			}
			w.tell("Good until %s. The sample page: %s#token=…\n", expires.Format(time.RFC3339), pagePath(server, agent))
			_, err = fmt.Fprintln(w.stdout, token)
			return err
		},
	}
	configFlag(c, &file)
	outputFlag(c, &output)
	c.Flags().StringVar(&server, "server", "", "the LQ server's name (required)")
	c.Flags().StringVar(&agent, "agent", "", "the agent's number (required)")
	c.Flags().DurationVar(&ttl, "ttl", 12*time.Hour, "for how long")
	return c
}

func checkTokenFlags(server, agent string, ttl time.Duration) error {
	switch {
	case server == "":
		return usageError{errors.New("--server is missing: expected the LQ server's name")}
	case agent == "":
		return usageError{errors.New("--agent is missing: expected the agent's number")}
	case ttl < time.Second || ttl > maxTokenTime:
		return usageError{fmt.Errorf("--ttl is %v: expected 1s to %v", ttl, maxTokenTime)}
	}
	return nil
}

// pagePath is where an agent's sample page is on the public address.
func pagePath(server, agent string) string {
	return "/agents/" + url.PathEscape(server) + "/" + url.PathEscape(agent)
}

// serverNames are the LQ servers whose pops the sources take.
func serverNames(c *config.Config) (names []string) {
	for _, s := range c.Sources {
		var name string
		switch kind := s.Config.(type) {
		case *session.Config:
			name = kind.Server
		case *relay.Config:
			name = kind.Server
		case *callback.Config:
			name = kind.Server
		}
		if name = cmp.Or(name, s.Name); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
