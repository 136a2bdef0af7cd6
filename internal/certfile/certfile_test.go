package certfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/callpop/connector/internal/certfile/certtest"
)

func TestARenewedCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := Load(certFile, keyFile); err == nil || !strings.Contains(err.Error(), certFile) {
		t.Fatalf("without the files: %v", err)
	}
	certtest.Write(t, certFile, keyFile, 1)
	certificate, err := Load(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		pair, err := certificate.Config().GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	certtest.Write(t, certFile, keyFile, 2)
	if got := serial(); got != 1 {
		t.Errorf("within the minute the certificate is %d, want 1", got)
	}
	certificate.checked = certificate.checked.Add(-recheck)
	if got := serial(); got != 2 {
		t.Errorf("after a minute the certificate is %d, want 2", got)
	}
	if err := os.WriteFile(certFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	certificate.checked = certificate.checked.Add(-recheck)
	if got := serial(); got != 2 {
		t.Errorf("with a broken file the certificate is %d, want 2 still", got)
	}
}
