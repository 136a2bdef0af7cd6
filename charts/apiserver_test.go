package charts

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// apiServer is a Kubernetes API server with an etcd of its own. There are no
// controllers and no nodes: objects are checked, stored, and stay as they are.
type apiServer struct {
	url, kubeconfig string
	client          *http.Client
}

const token = "not-a-secret"

// startAPIServer runs one for the time of a test.
func startAPIServer(t *testing.T) *apiServer {
	t.Helper()
	dir := t.TempDir()
	etcdClient, etcdPeer := freeAddress(t), freeAddress(t)
	startProcess(t, dir, tool(t, "etcd"), "--data-dir", filepath.Join(dir, "etcd"), "--log-level", "error",
		"--unsafe-no-fsync", "--listen-client-urls", "http://"+etcdClient, "--advertise-client-urls", "http://"+etcdClient,
		"--listen-peer-urls", "http://"+etcdPeer, "--initial-advertise-peer-urls", "http://"+etcdPeer,
		"--initial-cluster", "default=http://"+etcdPeer)

	address := freeAddress(t)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "accounts.key")
	writeKey(t, key)
	tokens := filepath.Join(dir, "tokens.csv")
	write(t, tokens, token+",tester,tester,system:masters\n")
	startProcess(t, dir, tool(t, "kube-apiserver"), "--etcd-servers", "http://"+etcdClient,
		"--bind-address", host, "--secure-port", port, "--cert-dir", filepath.Join(dir, "certs"),
		"--token-auth-file", tokens, "--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.96.0.0/16",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-signing-key-file", key,
		"--service-account-key-file", key,
		// Nobody makes namespaces' default accounts here.
		"--disable-admission-plugins", "ServiceAccount", "--v", "0")

	s := &apiServer{url: "https://" + address, kubeconfig: filepath.Join(dir, "kubeconfig")}
	//nolint:gosec // its certificate was made a moment ago, for this test
	s.client = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(s.client.CloseIdleConnections)
	write(t, s.kubeconfig, fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: t,
clusters: [{name: t, cluster: {server: %q, insecure-skip-tls-verify: true}}],
users: [{name: t, user: {token: %s}}], contexts: [{name: t, context: {cluster: t, user: t}}]}`, s.url, token))
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		if status, _, _, err := s.call(t, http.MethodGet, "/readyz", "", nil); err == nil && status == http.StatusOK {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("the API server is not ready")
		}
	}
}

// startProcess runs a program until the test ends; its output is shown where the
// test fails.
func startProcess(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := exec.CommandContext(ctx, program, args...)
	c.Dir = dir
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = c.Wait() // killed
		if t.Failed() {
			text := output.String()
			t.Logf("%s: …%s", filepath.Base(program), text[max(0, len(text)-2000):])
		}
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeKey(t *testing.T, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
}

// call asks the API server; warnings are what it says beside its answer.
func (s *apiServer) call(t *testing.T, method, path, contentType string, body []byte) (status int, answer string, warnings []string, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", contentType)
	response, err := s.client.Do(request)
	if err != nil {
		return 0, "", nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), response.Header.Values("Warning"), err
}

// must is call for what must succeed, without a warning.
func (s *apiServer) must(t *testing.T, method, path, contentType string, body []byte) string {
	t.Helper()
	status, answer, warnings, err := s.call(t, method, path, contentType, body)
	if err != nil || status >= 300 || len(warnings) > 0 {
		t.Fatalf("%s %s: %d, %v, %q\n%s", method, path, status, err, warnings, answer)
	}
	return answer
}

// create makes an object at a path.
func (s *apiServer) create(t *testing.T, path string, o object) {
	t.Helper()
	body, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	s.must(t, http.MethodPost, path, "application/json", body)
}

// resource is where objects of a kind are.
func resource(t *testing.T, o object) string {
	t.Helper()
	version := o["apiVersion"].(string)
	prefix := "/apis/" + version
	if !strings.Contains(version, "/") {
		prefix = "/api/" + version
	}
	plural := strings.ToLower(o["kind"].(string)) + "s"
	plural = strings.NewReplacer("policys", "policies", "ingresss", "ingresses").Replace(plural)
	namespace, _ := at(o, "metadata", "namespace").(string)
	if namespace == "" {
		namespace = "calls"
	}
	return prefix + "/namespaces/" + namespace + "/" + plural
}
