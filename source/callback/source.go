package callback

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/time/rate"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/pop"
)

// patience is how long a pop may keep its agent's page from opening.
const patience = 3 * time.Millisecond

// Options are the parts of the daemon that a source works with.
type Options struct {
	Intake *source.Intake
	// Servers are shared by the callback sources of one process; nil: the source
	// shares its listener with none.
	Servers *Servers
	// Listener is used where given, instead of listening on the configured address,
	// unless another source listens there already. It is closed with the source, or
	// at once where it is not needed.
	Listener *net.TCPListener
	Logger   *slog.Logger
	Meter    metric.Meter
}

// Source is a callback endpoint; a [source.Source], and an [http.Handler] for the
// requests to its path.
type Source struct {
	config   Config // as it was made with; see Update
	rules    atomic.Pointer[rules]
	intake   *source.Intake
	origin   *source.Origin
	log      *slog.Logger
	counters *counters
	refusals rate.Sometimes // logs of requests without the secret, or not allowed
	decoders sync.Pool
	// behind is set while pops are answered before they are stored.
	behind atomic.Bool

	server    *server
	answering sync.WaitGroup
	closed    chan struct{}
	close     sync.Once
	left      sync.Once
}

// New makes a Source of a valid Config and takes its address; requests wait until
// Run is called. An error says what is wrong with address or certificate.
func New(c Config, o Options) (*Source, error) {
	s, err := newSource(c, o)
	if err != nil {
		if o.Listener != nil {
			_ = o.Listener.Close()
		}
		return nil, err
	}
	if o.Servers == nil {
		o.Servers = NewServers()
	}
	if s.server, err = o.Servers.join(&s.config, s, o.Listener, s.log); err != nil {
		return nil, err
	}
	return s, nil
}

// newSource makes a Source without a listener.
func newSource(c Config, o Options) (*Source, error) {
	decoding, err := c.decoding()
	if err != nil {
		return nil, err
	}
	s := &Source{
		config: c, intake: o.Intake, log: o.Logger.With("source", c.Name),
		origin:   &source.Origin{Type: c.Type, Name: c.Name, Server: c.Server, Decoding: decoding},
		refusals: rate.Sometimes{Interval: time.Minute},
		closed:   make(chan struct{}),
	}
	s.decoders.New = func() any { return &pop.Decoder{} }
	r, err := newRules(&c)
	if err != nil {
		return nil, err
	}
	s.rules.Store(r)
	s.counters, err = newCounters(o.Meter, &c)
	return s, err
}

// Addr is the address that is listened on.
func (s *Source) Addr() net.Addr { return s.server.listener.Addr() }

// Socket is what is listened on, to be handed to a successor. It stays the source's.
func (s *Source) Socket() *net.TCPListener { return s.server.socket }

// Run answers until ctx is done or Close is called, lets requests under way finish
// within seconds, and returns nil; or it returns why it cannot serve.
func (s *Source) Run(ctx context.Context) error {
	s.server.serve()
	var err error
	select {
	case <-ctx.Done():
	case <-s.closed:
	case <-s.server.done:
		err = s.server.err
	}
	s.leave(ctx)
	return err
}

// Close ends Run, and gives the address back where Run was never called. It is safe
// to call twice.
func (s *Source) Close() error {
	s.close.Do(func() { close(s.closed) })
	s.leave(context.Background())
	return nil
}

func (s *Source) leave(ctx context.Context) {
	s.left.Do(func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		s.server.leave(stop, s)
	})
}

// Status has no sessions: a callback comes whenever there is a call.
func (s *Source) Status() source.Status {
	return source.Status{Name: s.config.Name, Type: s.config.Type, Server: s.config.Server}
}

// ServeHTTP takes one callback.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead || r.Method == http.MethodOptions {
		s.counters.answered("unasked")
		w.Header().Set("Allow", methods)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	query, err := s.accept(w, r)
	if err != nil {
		var refused *errRefused
		if !errors.As(err, &refused) {
			refused = &errRefused{http.StatusBadRequest, "broken", "the request cannot be read"}
		}
		s.counters.answered(refused.result)
		if refused.status == http.StatusForbidden {
			s.refusals.Do(func() { s.log.Warn("callback refused: "+refused.text, "from", r.RemoteAddr) })
		}
		refuse(w, refused.status, refused.text)
		return
	}
	if len(query) == 0 {
		s.counters.answered("empty")
		reply(w, r, s.location(nil))
		return
	}
	s.take(w, r, query)
}

const methods = "GET, HEAD, OPTIONS, POST"

// accept returns the query of a request that may send pops, without the secret.
func (s *Source) accept(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if !s.allows(r.RemoteAddr) {
		return nil, &errRefused{http.StatusForbidden, "forbidden", "this address is not allowed to send pops"}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", methods)
		return nil, &errRefused{http.StatusMethodNotAllowed, "method", "expected GET or POST"}
	}
	query, err := readQuery(w, r)
	in := s.rules.Load()
	if err != nil || in.secret.IsZero() {
		return query, err
	}
	query, given := strip(query, in.secretParameter)
	if !carries(in.secret, append(given, bearer(r))...) {
		return nil, &errRefused{http.StatusForbidden, "forbidden", "the secret is missing or wrong"}
	}
	return query, nil
}

func (s *Source) allows(remote string) bool {
	allowed := s.rules.Load().allowed
	if len(allowed) == 0 {
		return true
	}
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	address := from.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(allowed, func(p netip.Prefix) bool { return p.Contains(address) })
}

// take hands the query on and answers once it is stored, or when patience is over.
func (s *Source) take(w http.ResponseWriter, r *http.Request, query []byte) {
	stored := make(chan struct{})
	// settled is set by whichever comes first, the store or the answer.
	var settled atomic.Bool
	s.intake.Callback(s.origin, time.Now(), query, func() {
		if settled.Swap(true) {
			s.counters.storedLate()
		}
		close(stored)
	})
	timer := time.NewTimer(patience)
	defer timer.Stop()
	location := s.location(query)
	select {
	case <-stored:
	case <-timer.C:
	}
	if settled.Swap(true) {
		s.counters.answered("stored")
		s.note(false)
	} else {
		s.counters.answered("waiting")
		s.note(true)
	}
	reply(w, r, location)
}

// note logs each change between answers after the store and answers before it. What
// is lost in the end, the intake counts and logs.
func (s *Source) note(behind bool) {
	if s.behind.Load() == behind || !s.behind.CompareAndSwap(!behind, behind) {
		return
	}
	if behind {
		s.log.Warn("callbacks are answered before their pops are stored: the log takes longer than the agent's page may wait",
			"after", patience)
	} else {
		s.log.Info("callbacks are answered once their pops are stored again")
	}
}

// location renders the address of the CRM; nil where there is none.
func (s *Source) location(query []byte) []byte {
	redirect := s.rules.Load().redirect
	if redirect == nil {
		return nil
	}
	decoder, _ := s.decoders.Get().(*pop.Decoder)
	defer s.decoders.Put(decoder)
	now := s.origin.Decoding.Now()
	decoder.Charset, decoder.Location = now.Charset, now.Location
	var p pop.Pop
	if decoder.DecodeCallback(query, &p) != nil {
		p = pop.Pop{} // the page opens all the same
	}
	return redirect.Append(nil, &p, s.origin)
}

func reply(w http.ResponseWriter, r *http.Request, location []byte) {
	// A re-pop is the same address again, and has to come here again.
	w.Header().Set("Cache-Control", "no-store")
	if location == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Location", string(location))
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusSeeOther) // the page is to be fetched, not posted to
		return
	}
	w.WriteHeader(http.StatusFound)
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
