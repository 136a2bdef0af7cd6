package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// TestCertificatesCanBeCheckedWhereTheMachineHasNoAuthorities runs itself again
// where there are none, as in an image made from scratch.
func TestCertificatesCanBeCheckedWhereTheMachineHasNoAuthorities(t *testing.T) {
	const child = "CONNECTOR_TEST_WITHOUT_AUTHORITIES"
	if os.Getenv(child) != "" {
		pool, err := x509.SystemCertPool()
		if err != nil || pool.Equal(x509.NewCertPool()) {
			t.Fatalf("there are no authorities: %v", err)
		}
		return
	}
	test := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$") //nolint:gosec // this test
	test.Env = append(os.Environ(), child+"=1", "SSL_CERT_FILE=/nowhere", "SSL_CERT_DIR=/nowhere")
	if text, err := test.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}
