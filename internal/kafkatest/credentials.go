package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The user that every listener of SASL knows, by PLAIN and both kinds of SCRAM.
const (
	User     = "connector"
	Password = `pass, "word"=ü`
)

// Files are the certificates of a cluster, as PEM files.
type Files struct {
	// CA signed the brokers' certificate and the client's.
	CA string
	// ClientCert and ClientKey are what the MTLS listener asks for.
	ClientCert, ClientKey string
	// server is the brokers' key and certificate in one file.
	server string
	// jwks holds the public key that checks tokens.
	jwks string
}

// credentials are the keys of one cluster.
type credentials struct {
	files Files
	token *ecdsa.PrivateKey
}

// newCredentials makes a CA, a certificate for the brokers and one for a client,
// and the key that signs tokens, with files in dir.
func newCredentials(dir string) (*credentials, error) {
	c := &credentials{files: Files{
		CA:         filepath.Join(dir, "ca.pem"),
		ClientCert: filepath.Join(dir, "client.pem"),
		ClientKey:  filepath.Join(dir, "client-key.pem"),
		server:     filepath.Join(dir, "server.pem"),
		jwks:       filepath.Join(dir, "jwks.json"),
	}}
	ca, err := newCertificate("kafkatest CA", nil)
	if err != nil {
		return nil, err
	}
	server, err := newCertificate("broker", ca)
	if err != nil {
		return nil, err
	}
	client, err := newCertificate(User, ca)
	if err != nil {
		return nil, err
	}
	if c.token, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	jwks, err := keySet(&c.token.PublicKey)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{
		c.files.CA:         ca.pem,
		c.files.ClientCert: client.pem,
		c.files.ClientKey:  client.keyPEM,
		c.files.server:     append(server.keyPEM, server.pem...),
		c.files.jwks:       jwks,
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			return nil, err
		}
	}
	return c, nil
}

type certificate struct {
	cert        *x509.Certificate
	key         *ecdsa.PrivateKey
	pem, keyPEM []byte
}

// newCertificate makes a certificate signed by issuer; a CA where issuer is nil.
func newCertificate(name string, issuer *certificate) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := template, key
	if issuer == nil {
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign
		template.ExtKeyUsage, template.DNSNames, template.IPAddresses = nil, nil, nil
	} else {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &certificate{
		cert:   cert,
		key:    key,
		pem:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		keyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil
}

const tokenKeyID = "kafkatest"

// keySet is the JSON Web Key Set (RFC 7517) with key in it.
func keySet(key *ecdsa.PublicKey) ([]byte, error) {
	point, err := key.Bytes() // 4, x, y
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": tokenKeyID,
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]),
		"y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}}})
}

// sign makes a JSON Web Token (RFC 7519) for subject, signed with ES256.
func (c *credentials) sign(subject string, lifetime time.Duration) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "ES256", "typ": "JWT", "kid": tokenKeyID})
	if err != nil {
		return "", err
	}
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"sub": subject, "scope": "kafka", "iat": now.Unix(), "exp": now.Add(lifetime).Unix(),
	})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, c.token, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64) // RFC 7518, 3.4: r and s, 32 bytes each
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
