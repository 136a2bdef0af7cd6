package spool

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/callpop/connector/internal/secret"
)

func TestAPortInUseIsOneClearError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	o := testOptions(t.TempDir())
	o.Embedded.Listen = taken.Addr().String()
	_, err = Open(testContext(t), o)
	if err == nil {
		t.Fatal("the port was taken twice")
	}
	for _, want := range []string{o.Embedded.Listen, "address already in use"} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("error = %q: expected %q once", err, want)
		}
	}
	// Nothing was left behind: the directory is free.
	o.Embedded.Listen = ""
	openSpool(t, o)
}

func TestWithoutListenThereIsNoListener(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	if got := s.Addr(); got != nil {
		t.Errorf("address = %v", got)
	}
}

func TestAClientLogsInWithUserAndPassword(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Embedded = Embedded{Listen: "127.0.0.1:0", User: "crm", Password: secret.New("s3cr3t")}
	var log logLines
	o.Logger = log.logger()
	s := openSpool(t, o)
	url := "nats://" + s.Addr().String()
	for what, opts := range map[string][]nats.Option{
		"nothing":            nil,
		"a wrong password":   {nats.UserInfo("crm", "secret")},
		"no password":        {nats.UserInfo("crm", "")},
		"another user":       {nats.UserInfo("anonymous", "")},
		"a token":            {nats.Token("s3cr3t")},
		"the process's keys": {s.logins.spool.option()},
		"the gate's keys":    {s.logins.gate.option()},
	} {
		if conn, err := nats.Connect(url, opts...); err == nil {
			t.Errorf("a client with %s was let in", what)
			conn.Close()
		}
	}
	conn := client(t, s, nats.UserInfo("crm", "s3cr3t"))
	sub, err := conn.SubscribeSync("callpop.v1.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	emit(t, s, newEvent(1))
	if _, err := sub.NextMsg(patience); err != nil {
		t.Error(err)
	}
	if err := jetStream(t, conn).DeleteStream(testContext(t), "CALLPOP"); !forbidden(err) {
		t.Errorf("delete stream: %v", err)
	}
	if strings.Contains(log.String(), "s3cr3t") || strings.Contains(log.String(), "Plaintext") {
		t.Errorf("log = %s", &log)
	}
}

func TestAClientConnectsWithTLSAndACertificate(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	serverCert, serverKey := ca.issue(t, "server")
	clientCert, clientKey := ca.issue(t, "client")
	o := testOptions(filepath.Join(dir, "spool"))
	o.Embedded = Embedded{Listen: "127.0.0.1:0", TLS: TLS{CertFile: serverCert, KeyFile: serverKey, ClientCAFile: ca.file}}
	s := openSpool(t, o)
	url := "tls://" + s.Addr().String()
	if conn, err := nats.Connect(url, nats.RootCAs(ca.file)); err == nil {
		t.Error("a client without a certificate was let in")
		conn.Close()
	}
	if conn, err := nats.Connect("nats://" + s.Addr().String()); err == nil {
		t.Error("a client without TLS was let in")
		conn.Close()
	}
	conn, err := nats.Connect(url, nats.RootCAs(ca.file), nats.ClientCert(clientCert, clientKey))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := jetStream(t, conn).Stream(testContext(t), "CALLPOP"); err != nil {
		t.Error(err)
	}
	// Connections within the process need no certificate.
	inside, err := s.Connect("tail")
	if err != nil {
		t.Fatal(err)
	}
	inside.Close()
}

func TestFilesOfTLSThatCannotBeUsedAreNamed(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	cert, key := ca.issue(t, "server")
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tls  TLS
		want string
	}{
		{TLS{CertFile: "none.pem", KeyFile: key}, "none.pem"},
		{TLS{CertFile: cert, KeyFile: empty}, empty},
		{TLS{CertFile: cert, KeyFile: key, ClientCAFile: "none.pem"}, "none.pem"},
		{TLS{CertFile: cert, KeyFile: key, ClientCAFile: empty}, empty},
	} {
		o := testOptions(filepath.Join(dir, "spool"))
		o.Embedded = Embedded{Listen: "127.0.0.1:0", TLS: c.tls}
		if _, err := Open(testContext(t), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error = %v, want %q in it", c.tls, err, c.want)
		}
	}
}

// authority signs certificates for 127.0.0.1.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{dir: dir}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key, a.file = template, newKey(t), filepath.Join(dir, "ca.pem")
	writePEM(t, a.file, "CERTIFICATE", sign(t, template, template, a.key, a.key))
	return a
}

func (a *authority) issue(t *testing.T, name string) (certFile, keyFile string) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	certFile, keyFile = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	writePEM(t, certFile, "CERTIFICATE", sign(t, template, a.cert, key, a.key))
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, keyFile, "EC PRIVATE KEY", der)
	return certFile, keyFile
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, template, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
