package natssink_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/sink/natssink"
)

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newUser(t *testing.T) (public, seed string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return public, string(s)
}

// wantLogin checks that a sink can publish with good, and with bad is kept out,
// says so without the secret, and is no permanent failure.
func wantLogin(t *testing.T, b *broker, good, bad func(*natssink.Config), secrets ...string) {
	t.Helper()
	mustPublish(t, openSink(t, b.config(good)), pops(3, 3))
	s := openSink(t, b.config(bad, impatient))
	wantFailure(t, s, natssink.ErrNotConnected, "authorization violation")
	err := s.Publish(t.Context(), pops(1, 1))
	for _, secret := range secrets {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestLoginWithUserAndPassword(t *testing.T) {
	b := startBroker(t, func(o *server.Options) { o.Username, o.Password = "connector", "open sesame" })
	wantLogin(t, b,
		func(c *natssink.Config) { c.User, c.Password = "connector", secret.New("open sesame") },
		func(c *natssink.Config) { c.User, c.Password = "connector", secret.New("open simsim") },
		"open simsim")
	file := writeFile(t, "password", "open sesame\n")
	wrong := writeFile(t, "password", "open simsim\n")
	wantLogin(t, b,
		func(c *natssink.Config) { c.User, c.PasswordFile = "connector", file },
		func(c *natssink.Config) { c.User, c.PasswordFile = "connector", wrong },
		"open simsim")
}

func TestLoginWithToken(t *testing.T) {
	b := startBroker(t, func(o *server.Options) { o.Authorization = "open-sesame" })
	wantLogin(t, b,
		func(c *natssink.Config) { c.Token = secret.New("open-sesame") },
		func(c *natssink.Config) { c.Token = secret.New("open-simsim") },
		"open-simsim")
	file := writeFile(t, "token", "open-sesame")
	wrong := writeFile(t, "token", "open-simsim")
	wantLogin(t, b,
		func(c *natssink.Config) { c.TokenFile = file },
		func(c *natssink.Config) { c.TokenFile = wrong },
		"open-simsim")
}

func TestLoginWithNkey(t *testing.T) {
	public, seed := newUser(t)
	_, strange := newUser(t)
	b := startBroker(t, func(o *server.Options) { o.Nkeys = []*server.NkeyUser{{Nkey: public}} })
	good, bad := writeFile(t, "user.nk", seed), writeFile(t, "user.nk", strange)
	wantLogin(t, b,
		func(c *natssink.Config) { c.NkeyFile = good },
		func(c *natssink.Config) { c.NkeyFile = bad },
		strange)
}

// jwtBroker is a server with an operator, and an account with JetStream; sign
// makes the credentials of a user of that account.
func jwtBroker(t *testing.T) (b *broker, sign func(change func(*jwt.UserClaims)) string) {
	t.Helper()
	create := func(create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, string) {
		pair, err := create()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		return pair, public
	}
	operator, operatorID := create(nkeys.CreateOperator)
	_, systemID := create(nkeys.CreateAccount)
	account, accountID := create(nkeys.CreateAccount)

	encode := func(claims jwt.Claims, by nkeys.KeyPair) string {
		token, err := claims.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	operatorClaims := jwt.NewOperatorClaims(operatorID)
	operatorClaims.SystemAccount = systemID
	decoded, err := jwt.DecodeOperatorClaims(encode(operatorClaims, operator))
	if err != nil {
		t.Fatal(err)
	}
	accountClaims := jwt.NewAccountClaims(accountID)
	accountClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	resolver := &server.MemAccResolver{}
	for id, token := range map[string]string{
		systemID:  encode(jwt.NewAccountClaims(systemID), operator),
		accountID: encode(accountClaims, operator),
	} {
		if err := resolver.Store(id, token); err != nil {
			t.Fatal(err)
		}
	}
	b = startBroker(t, func(o *server.Options) {
		o.TrustedOperators = []*jwt.OperatorClaims{decoded}
		o.AccountResolver = resolver
		o.SystemAccount = systemID
	})
	return b, func(change func(*jwt.UserClaims)) string {
		public, seed := newUser(t)
		claims := jwt.NewUserClaims(public)
		if change != nil {
			change(claims)
		}
		credentials, err := jwt.FormatUserConfig(encode(claims, account), []byte(seed))
		if err != nil {
			t.Fatal(err)
		}
		return string(credentials)
	}
}

func TestLoginWithCredentialsFile(t *testing.T) {
	b, sign := jwtBroker(t)
	good := writeFile(t, "user.creds", sign(nil))
	_, strangersSign := jwtBroker(t)
	bad := writeFile(t, "user.creds", strangersSign(nil))
	wantLogin(t, b,
		func(c *natssink.Config) { c.CredentialsFile = good },
		func(c *natssink.Config) { c.CredentialsFile = bad })
}

func TestWhatTheUserMayNotDoIsCalledNoPermission(t *testing.T) {
	b, sign := jwtBroker(t)
	everything := writeFile(t, "all.creds", sign(nil))
	mustPublish(t, openSink(t, b.config(func(c *natssink.Config) { c.CredentialsFile = everything })), pops(1, 1))

	user := func(change func(*jwt.UserClaims)) func(*natssink.Config) {
		file := writeFile(t, "user.creds", sign(change))
		return func(c *natssink.Config) { c.CredentialsFile, c.Create, c.PublishTimeout = file, false, time.Minute }
	}
	t.Run("to publish to the subject", func(t *testing.T) {
		s := openSink(t, b.config(user(func(u *jwt.UserClaims) { u.Pub.Allow.Add("$JS.API.>", "callpop.v1.berlin.>") })))
		wantFailure(t, s, natssink.ErrNoPermission, "publish")
	})
	t.Run("to hear the answer", func(t *testing.T) {
		s := openSink(t, b.config(user(func(u *jwt.UserClaims) { u.Sub.Allow.Add("_OTHER.>") })))
		wantFailure(t, s, natssink.ErrNoPermission, "inbox")
	})
	t.Run("an inbox of its own is enough", func(t *testing.T) {
		s := openSink(t, b.config(user(func(u *jwt.UserClaims) {
			u.Sub.Allow.Add("_OTHER.>")
			u.Pub.Allow.Add("callpop.>")
		}), func(c *natssink.Config) { c.InboxPrefix = "_OTHER" }))
		mustPublish(t, s, pops(1, 1))
	})
	t.Run("to look at the stream is not needed, nor is it for creating one that exists", func(t *testing.T) {
		s := openSink(t, b.config(user(func(u *jwt.UserClaims) { u.Pub.Allow.Add("callpop.>") }), func(c *natssink.Config) { c.Create = true }))
		mustPublish(t, s, pops(1, 1))
	})
	t.Run("one agent's subject holds up no other's", func(t *testing.T) {
		s := openSink(t, b.config(user(func(u *jwt.UserClaims) { u.Pub.Deny.Add("callpop.v1.*.802") })))
		records := pops(3, 3)
		records[1].Agent = "802"
		err := s.Publish(t.Context(), records)
		each := batchError(t, err)
		if each[0] != nil || each[2] != nil || !errors.Is(each[1], natssink.ErrNoPermission) {
			t.Errorf("errors %v, want one for the second record alone", each)
		}
	})
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	certPEM, _ := a.sign(t, a.cert)
	a.file = writeFile(t, "ca.pem", certPEM)
	return a
}

// sign signs a certificate, the first one with its own key, and returns it and its
// key in PEM.
func (a *authority) sign(t *testing.T, template *x509.Certificate) (certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == nil {
		a.key = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func (a *authority) leaf(t *testing.T, usage x509.ExtKeyUsage, names ...string) (certPEM, keyPEM string) {
	t.Helper()
	return a.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, DNSNames: names,
	})
}

// tlsBroker is a server with a certificate for nats.example and nothing else.
func tlsBroker(t *testing.T, a *authority, clientAuth tls.ClientAuthType) *broker {
	t.Helper()
	certPEM, keyPEM := a.leaf(t, x509.ExtKeyUsageServerAuth, "nats.example")
	cert, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parse(t, a))
	return startBroker(t, func(o *server.Options) {
		o.TLS = true
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: clientAuth, ClientCAs: pool}
		o.TLSTimeout = patience.Seconds()
	})
}

func parse(t *testing.T, a *authority) *x509.Certificate {
	t.Helper()
	content, err := os.ReadFile(a.file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestTLS(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	b := tlsBroker(t, a, tls.NoClientCert)
	good := func(c *natssink.Config) { c.TLS = natssink.TLS{CAFile: a.file, ServerName: "nats.example"} }
	mustPublish(t, openSink(t, b.config(good)), pops(3, 3))

	wantFailure(t, openSink(t, b.config(good, impatient, func(c *natssink.Config) { c.TLS.CAFile = stranger.file })), natssink.ErrNotConnected, "certificate signed by unknown authority")
	wantFailure(t, openSink(t, b.config(good, impatient, func(c *natssink.Config) { c.TLS.ServerName = "" })), natssink.ErrNotConnected, "127.0.0.1")
	// A server that demands TLS gets it, with the system's authorities, which do not
	// know this one: nothing is ever sent in the clear or to a stranger.
	wantFailure(t, openSink(t, b.config(impatient)), natssink.ErrNotConnected, "certificate")
}

func TestTLSIsDemandedOfAServerThatOffersNone(t *testing.T) {
	a := newAuthority(t)
	b := startBroker(t)
	s := openSink(t, b.config(impatient, func(c *natssink.Config) { c.TLS.CAFile = a.file }))
	wantFailure(t, s, natssink.ErrNotConnected, "secure connection not available")
}

func TestMutualTLS(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	b := tlsBroker(t, a, tls.RequireAndVerifyClientCert)
	with := func(by *authority) func(*natssink.Config) {
		certPEM, keyPEM := by.leaf(t, x509.ExtKeyUsageClientAuth)
		cert, key := writeFile(t, "cert.pem", certPEM), writeFile(t, "key.pem", keyPEM)
		return func(c *natssink.Config) {
			c.TLS = natssink.TLS{CAFile: a.file, CertFile: cert, KeyFile: key, ServerName: "nats.example"}
		}
	}
	mustPublish(t, openSink(t, b.config(with(a))), pops(3, 3))
	for name, bad := range map[string]func(*natssink.Config){
		"a stranger's": with(stranger),
		"none":         func(c *natssink.Config) { c.TLS = natssink.TLS{CAFile: a.file, ServerName: "nats.example"} },
	} {
		t.Run(name, func(t *testing.T) {
			wantFailure(t, openSink(t, b.config(bad, impatient)), natssink.ErrNotConnected)
		})
	}
}

func TestAChangedPasswordFileServesTheNextConnection(t *testing.T) {
	b := startBroker(t, func(o *server.Options) { o.Username, o.Password = "connector", "old" })
	file := writeFile(t, "password", "old")
	s := openSink(t, b.config(func(c *natssink.Config) {
		c.User, c.PasswordFile, c.PublishTimeout = "connector", file, 500*time.Millisecond
	}))
	mustPublish(t, s, pops(1, 1))
	b.stop()
	b.options.Password = "new"
	b.start(t)
	wantFailure(t, s, natssink.ErrNotConnected)
	if err := os.WriteFile(file, []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return s.Publish(t.Context(), pops(1, 1)) })
	// A file that is gone for a moment, as while a mount is replaced.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b.start(t)
	eventually(t, func() error { return s.Publish(t.Context(), pops(1, 1)) })
}

func TestFilesThatCannotBeReadAreErrorsAtTheStart(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	empty, garbage := writeFile(t, "empty", "\n"), writeFile(t, "garbage", "SECRETSEED")
	huge := writeFile(t, "huge", strings.Repeat("x", 1<<20))
	for _, c := range []struct {
		key    string
		change func(*natssink.Config)
	}{
		{"credentials_file", func(c *natssink.Config) { c.CredentialsFile = missing }},
		{"credentials_file", func(c *natssink.Config) { c.CredentialsFile = garbage }},
		{"nkey_file", func(c *natssink.Config) { c.NkeyFile = missing }},
		{"nkey_file", func(c *natssink.Config) { c.NkeyFile = garbage }},
		{"password_file", func(c *natssink.Config) { c.User, c.PasswordFile = "u", missing }},
		{"password_file", func(c *natssink.Config) { c.User, c.PasswordFile = "u", empty }},
		{"password_file", func(c *natssink.Config) { c.User, c.PasswordFile = "u", huge }},
		{"token_file", func(c *natssink.Config) { c.TokenFile = missing }},
		{"tls.ca_file", func(c *natssink.Config) { c.TLS.CAFile = missing }},
		{"tls.ca_file", func(c *natssink.Config) { c.TLS.CAFile = garbage }},
		{"tls.cert_file", func(c *natssink.Config) { c.TLS.CertFile, c.TLS.KeyFile = missing, missing }},
	} {
		config := natssink.DefaultConfig()
		config.URL = "nats://127.0.0.1:1"
		c.change(&config)
		_, err := natssink.New(config, natssink.Options{Name: "events"})
		if err == nil || !strings.Contains(err.Error(), c.key+":") || strings.Contains(err.Error(), "SECRETSEED") {
			t.Errorf("%s: error %v", c.key, err)
		}
	}
}
