package config

import (
	"fmt"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/internal/feed"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/source"
)

// Config is the configuration of the daemon.
type Config struct {
	// Sources take pops from LQ servers; at least one.
	Sources []Source `koanf:"sources"`
	// Intake is what the sources share.
	Intake Intake `koanf:"source"`
	// Sinks carry events to brokers. There may be none: events are then kept in
	// the spool, and the embedded broker serves them.
	Sinks []Sink `koanf:"sinks"`
	// Spool is the durable log between the two.
	Spool spool.Config `koanf:"spool"`
	// Embedded is the broker that the spool can be to others.
	Embedded spool.Embedded `koanf:"embedded"`
	// HTTP is where HTTP is served, and to whom.
	HTTP web.Config `koanf:"http"`
	// Feed is who may read pops on the public address.
	Feed feed.Config `koanf:"feed"`
	// Log is what the daemon writes to standard error.
	Log telemetry.Config `koanf:"log"`
	// Telemetry is what the daemon sends to an OpenTelemetry collector.
	Telemetry telemetry.Export `koanf:"telemetry"`
	// ShutdownTimeout is how long stopping may take. For three quarters of it the
	// sinks empty the spool.
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout"`
	// DrainPace is how fast sessions are closed when the daemon is told to stop; 0
	// closes all at once.
	DrainPace source.Pace `koanf:"drain_pace"`
	// Replicas say which part of the rosters this connector holds.
	Replicas source.Replicas `koanf:"replicas"`
	// Watch has the daemon follow changes of the file and of agents_file.
	Watch bool `koanf:"watch"`

	// File is what it was read from, empty without one; Digest is the SHA-256 of
	// that, in hex.
	File, Digest string
}

// Component is the Config of one kind of source or sink.
type Component interface {
	// Validate reports what is wrong, by the names of the keys.
	Validate() error
}

// Source is an entry of sources.
type Source struct {
	// Name is unique among the sources.
	Name string
	// Type says what Config is.
	Type string
	// Config is a *session.Config for type session, a *relay.Config for relay, a
	// *callback.Config for callback.
	Config Component
}

// Sink is an entry of sinks.
type Sink struct {
	// Name is unique among the sinks: the sink's place in the spool is kept by it.
	Name string
	// Type says what Config is.
	Type string
	// Start says where the sink begins when it is new.
	Start sink.Start
	// Config is a *natssink.Config for type nats, a *kafkasink.Config for kafka.
	Config Component
}

func newSink() Sink { return Sink{Start: sink.StartNew} }

// Intake is the configuration of what stands between the sources and the spool.
type Intake struct {
	// BufferBytes bounds the memory for what the spool has not taken yet.
	BufferBytes bytesize.Size `koanf:"buffer_bytes"`
}

// The least that holds the pops of a busy minute, and what one machine may have.
const (
	minBuffer = bytesize.MiB
	maxBuffer = 64 * bytesize.GiB
)

// Validate reports a buffer that is too small to be one, or too large.
func (i Intake) Validate() error {
	if i.BufferBytes < minBuffer || i.BufferBytes > maxBuffer {
		return fmt.Errorf("buffer_bytes is %v: expected %v to %v", i.BufferBytes, minBuffer, maxBuffer)
	}
	return nil
}

// Default is the configuration where none is given. It has no source yet.
func Default() Config {
	return Config{
		Intake:          Intake{BufferBytes: source.DefaultBufferBytes},
		Spool:           spool.DefaultConfig(),
		HTTP:            web.DefaultConfig(),
		Feed:            feed.DefaultConfig(),
		Log:             telemetry.DefaultConfig(),
		Telemetry:       telemetry.DefaultExport(),
		ShutdownTimeout: 20 * time.Second,
		Replicas:        source.DefaultReplicas(),
		Watch:           true,
	}
}
