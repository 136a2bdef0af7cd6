package spool

import (
	"fmt"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// The server has two accounts. The spool's holds the streams; nobody but this
// package logs in to it. The clients' imports the streams' subjects, so that a
// plain subscription sees events as they are stored, and reaches the JetStream
// API only through the gate.
//
// Why not one account with permissions: the server checks where a client
// publishes, but not the reply subject of its request nor the deliver subject of
// a consumer it creates. Within one account a client could have the API write
// its answers, or a stream's messages, to callpop.v1.x, or to the subject that
// purges a stream.
const (
	spoolAccount   = "SPOOL"
	clientsAccount = "CLIENTS"
)

// liveSubjects is what the clients' account imports as it is published.
const liveSubjects = "callpop.>"

// The gate passes requests on from these subjects, which clients may neither
// publish nor subscribe to; the account's imports lead from there to the API.
const (
	apiPrefix     = "$JS.API."
	ackPrefix     = "$JS.ACK."
	gateAPIPrefix = "gate.api."
	gateAckPrefix = "gate.ack."
	inboxPrefix   = "_INBOX."
)

// maxClientConsumers bounds the consumers that clients may keep on one stream.
const maxClientConsumers = 1000

// apiImport is one kind of request that the clients' account may make of the
// spool's, whatever passed the gate.
type apiImport struct {
	// subject is what follows the prefix. %s stands for a stream's name.
	subject string
	// streamed requests are answered by more than one message.
	streamed bool
	// perStream subjects exist once for each stream.
	perStream bool
}

var apiImports = []apiImport{
	{"INFO", false, false},
	{"STREAM.NAMES", false, false},
	{"STREAM.LIST", false, false},
	{"STREAM.INFO.%s", false, true},
	{"STREAM.MSG.GET.%s", false, true},
	{"DIRECT.GET.%s", true, true},
	{"DIRECT.GET.%s.>", true, true},
	{"CONSUMER.CREATE.%s", false, true},
	{"CONSUMER.CREATE.%s.>", false, true},
	{"CONSUMER.DURABLE.CREATE.%s.*", false, true},
	{"CONSUMER.NAMES.%s", false, true},
	{"CONSUMER.LIST.%s", false, true},
	{"CONSUMER.INFO.%s.*", false, true},
	{"CONSUMER.DELETE.%s.*", false, true},
	{"CONSUMER.PAUSE.%s.*", false, true},
	{"CONSUMER.RESET.%s.*", false, true},
	{"CONSUMER.UNPIN.%s.*", false, true},
	{"CONSUMER.MSG.NEXT.%s.*", true, true},
}

// accounts are the two accounts, wired together.
type accounts struct {
	spool, clients *server.Account
}

func newAccounts() (accounts, error) {
	a := accounts{spool: server.NewAccount(spoolAccount), clients: server.NewAccount(clientsAccount)}
	only := []*server.Account{a.clients}
	if err := a.spool.AddStreamExport(liveSubjects, only); err != nil {
		return accounts{}, fmt.Errorf("export %s: %w", liveSubjects, err)
	}
	if err := a.clients.AddStreamImport(a.spool, liveSubjects, ""); err != nil {
		return accounts{}, fmt.Errorf("import %s: %w", liveSubjects, err)
	}
	for _, i := range apiImports {
		if !i.perStream {
			if err := a.service(gateAPIPrefix+i.subject, apiPrefix+i.subject, i.streamed); err != nil {
				return accounts{}, err
			}
			continue
		}
		for _, st := range streams {
			subject := fmt.Sprintf(i.subject, st.name)
			if err := a.service(gateAPIPrefix+subject, apiPrefix+subject, i.streamed); err != nil {
				return accounts{}, err
			}
		}
	}
	for _, st := range streams {
		if err := a.service(gateAckPrefix+st.name+".>", ackPrefix+st.name+".>", true); err != nil {
			return accounts{}, err
		}
	}
	// An account without JetStream gets the server's own answer to $JS.API.>,
	// "not enabled for this account", beside the gate's, unless an import of
	// $JS.API.INFO overshadows it. Nobody listens where this one leads.
	if err := a.service(apiPrefix+"INFO", "gate.nobody", false); err != nil {
		return accounts{}, err
	}
	return a, nil
}

// service lets the clients' account reach subject to of the spool's account as
// subject from.
func (a accounts) service(from, to string, streamed bool) error {
	response := server.Singleton
	if streamed {
		response = server.Streamed
	}
	if err := a.spool.AddServiceExportWithResponse(to, response, []*server.Account{a.clients}); err != nil {
		return fmt.Errorf("export %s: %w", to, err)
	}
	if err := a.clients.AddServiceImport(a.spool, from, to); err != nil {
		return fmt.Errorf("import %s: %w", from, err)
	}
	return nil
}

// clientPermissions are those of every client: receive events and answers, ask
// and acknowledge through the gate.
func clientPermissions() *server.Permissions {
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{apiPrefix + ">", ackPrefix + ">"}},
		Subscribe: &server.SubjectPermission{Allow: []string{liveSubjects, inboxPrefix + ">"}},
	}
}

// login is a key pair of this process, good for in-process connections only.
type login struct {
	public string
	keys   nkeys.KeyPair
}

func newLogin() (login, error) {
	keys, err := nkeys.CreateUser()
	if err != nil {
		return login{}, fmt.Errorf("make a key for in-process connections: %w", err)
	}
	public, err := keys.PublicKey()
	if err != nil {
		return login{}, fmt.Errorf("make a key for in-process connections: %w", err)
	}
	return login{public, keys}, nil
}

func (l login) option() nats.Option { return nats.Nkey(l.public, l.keys.Sign) }

func (l login) user(a *server.Account, p *server.Permissions) *server.NkeyUser {
	return &server.NkeyUser{
		Nkey: l.public, Account: a, Permissions: p,
		AllowedConnectionTypes: map[string]struct{}{jwt.ConnectionTypeInProcess: {}},
	}
}

// logins are those of this process: the log itself, the gate, and clients that
// run in this process.
type logins struct {
	spool, gate, client login
}

func newLogins() (l logins, err error) {
	for _, one := range []*login{&l.spool, &l.gate, &l.client} {
		if *one, err = newLogin(); err != nil {
			return logins{}, err
		}
	}
	return l, nil
}
