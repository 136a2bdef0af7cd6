package charts

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// layout is an image as .ci/image writes it, an OCI image layout.
type layout struct {
	dir      string
	manifest struct{ Layers []descriptor }
	config   struct {
		Architecture string
		Config       struct {
			User       string
			Entrypoint []string
			Env        []string
			Labels     map[string]string
		}
	}
	digest string
}

type descriptor struct{ Digest string }

func (l *layout) blob(d string) string {
	return filepath.Join(l.dir, "blobs", strings.Replace(d, ":", string(filepath.Separator), 1))
}

// image reads the image that .ci/image has built for an architecture.
func image(t testing.TB, arch string) *layout {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it takes an image")
	}
	l := &layout{dir: filepath.Join("..", "dist", "connector-"+arch)}
	if _, err := os.Stat(l.dir); err != nil {
		missing(t, "there is no image in dist: make image builds it")
	}
	var index struct{ Manifests []descriptor }
	readJSON(t, filepath.Join(l.dir, "index.json"), &index)
	l.digest = index.Manifests[0].Digest
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	readJSON(t, l.blob(l.digest), &manifest)
	l.manifest.Layers = manifest.Layers
	readJSON(t, l.blob(manifest.Config.Digest), &l.config)
	return l
}

func readJSON(t testing.TB, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// unpack writes what is in the image below dir, with its owners where it can, and
// returns the names with their modes and sizes.
func (l *layout) unpack(t testing.TB, dir string) map[string]*tar.Header {
	t.Helper()
	all := map[string]*tar.Header{}
	for _, layer := range l.manifest.Layers {
		f, err := os.Open(l.blob(layer.Digest))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		unzipped, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		for files := tar.NewReader(unzipped); ; {
			h, err := files.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			name := strings.Trim(h.Name, "./")
			all[name] = h
			path := filepath.Join(dir, name) //nolint:gosec // our own image
			if h.Typeflag == tar.TypeDir {
				if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // as in the image
					t.Fatal(err)
				}
				continue
			}
			text, err := io.ReadAll(files)
			if err == nil {
				err = os.WriteFile(path, text, h.FileInfo().Mode())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}

func TestTheImageIsOneStaticBinaryOfNobody(t *testing.T) {
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			l := image(t, arch)
			c := l.config.Config
			if l.config.Architecture != arch || c.User != "65532:65532" || strings.Join(c.Entrypoint, " ") != "/connector" {
				t.Errorf("got %+v", l.config)
			}
			for _, label := range []string{"title", "description", "source", "version", "revision", "created"} {
				if c.Labels["org.opencontainers.image."+label] == "" {
					t.Errorf("the label %s is empty: %v", label, c.Labels)
				}
			}
			files := l.unpack(t, t.TempDir())
			created, err := time.Parse(time.RFC3339, c.Labels["org.opencontainers.image.created"])
			if err != nil {
				t.Fatal(err)
			}
			for name, h := range files {
				// The time of the build would make every image another one.
				if !h.ModTime.Equal(created) {
					t.Errorf("/%s is of %v, want the commit's time, %v", name, h.ModTime, created)
				}
				switch {
				case name == "connector":
					if h.Size > 40<<20 || h.Mode&0o777 != 0o755 || h.Uid != 0 {
						t.Errorf("/connector has %d bytes, mode %o, owner %d", h.Size, h.Mode, h.Uid)
					}
				case name == "tmp":
					if h.Mode&0o7777 != 0o1777 {
						t.Errorf("/tmp has mode %o", h.Mode)
					}
				case name == "var/lib/connector":
					if h.Uid != 65532 {
						t.Errorf("/%s belongs to %d", name, h.Uid)
					}
				case h.Typeflag != tar.TypeDir:
					t.Errorf("there is a file /%s", name)
				}
			}
			if files["connector"] == nil || files["tmp"] == nil || files["var/lib/connector"] == nil {
				t.Errorf("the image has %d files", len(files))
			}
		})
	}
}

// TestTheSameCommitGivesTheSameBytes builds the binary anew, in another place, as
// .ci/image does.
func TestTheSameCommitGivesTheSameBytes(t *testing.T) {
	l := image(t, runtime.GOARCH)
	dir := t.TempDir()
	l.unpack(t, dir)
	there := filepath.Join(t.TempDir(), "elsewhere")
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"cmd", "config", "internal", "schema", "sink", "source"} {
		if err := os.CopyFS(filepath.Join(there, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"go.mod", "go.sum", "Makefile"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(there, file), string(text))
	}
	labels := l.config.Config.Labels
	build := exec.CommandContext(t.Context(), "make", "build", "OUT=connector", "VERSION="+labels["org.opencontainers.image.version"],
		"COMMIT="+labels["org.opencontainers.image.revision"], "DATE="+labels["org.opencontainers.image.created"])
	build.Dir = there
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	want, err := os.ReadFile(filepath.Join(dir, "connector"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(there, "connector"))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the two differ: %d and %d bytes. Was dist built of what is here?", len(got), len(want))
	}
}
