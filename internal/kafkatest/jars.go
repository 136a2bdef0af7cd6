package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// DefaultVersion is the Kafka that runs unless KAFKA_VERSION names another.
const DefaultVersion = "4.1.1"

const (
	// minJava is what brokers of Kafka 4 ask for.
	minJava = 17
	// fetchTimeout bounds Maven's download of some 45 MB.
	fetchTimeout = 8 * time.Minute
)

// distribution is a Java and the jars of one version of Kafka.
type distribution struct {
	version string
	java    string
	lib     string
}

// errMissing says that this machine cannot run Kafka; a test skips on it.
var errMissing = errors.New("a real Kafka needs")

// findDistribution finds Java and the jars, which it fetches if need be. Other
// processes that want the same jars wait for the first.
func findDistribution(ctx context.Context) (*distribution, error) {
	version := os.Getenv("KAFKA_VERSION")
	if version == "" {
		version = DefaultVersion
	}
	if strings.Trim(version, "0123456789.") != "" {
		return nil, fmt.Errorf("KAFKA_VERSION is %q: want a version such as %s", version, DefaultVersion)
	}
	java, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	root := filepath.Join(cache, "callpop-connector")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	lib := filepath.Join(root, "kafka-"+version)
	lock := flock.New(lib + ".lock")
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	defer func() { _ = lock.Unlock() }()
	if _, err := os.Stat(lib); err == nil {
		return &distribution{version: version, java: java, lib: lib}, nil
	}
	if err := fetchJars(ctx, version, lib); err != nil {
		return nil, err
	}
	return &distribution{version: version, java: java, lib: lib}, nil
}

// findJava finds a Java of at least minJava: that of JAVA_HOME, else of PATH.
func findJava(ctx context.Context) (string, error) {
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(java)
	if err != nil {
		return "", fmt.Errorf("%w Java %d or newer: %w", errMissing, minJava, err)
	}
	out, err := exec.CommandContext(ctx, path, "-XshowSettings:properties", "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w Java %d or newer: %s -version: %w", errMissing, minJava, path, err)
	}
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "java.specification.version = "); ok {
			if n, err := strconv.Atoi(v); err != nil || n < minJava {
				return "", fmt.Errorf("%w Java %d or newer; %s is Java %s", errMissing, minJava, path, v)
			}
			return path, nil
		}
	}
	return "", fmt.Errorf("%w Java %d or newer; %s does not tell its version", errMissing, minJava, path)
}

// pom asks for the broker and for Kafka's own command-line clients. The tools
// would bring all of Kafka Connect and a web server, which nothing here runs.
// slf4j-simple is the binding of slf4j 1.7 that writes to standard error.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kafkatest</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>%[1]s</version>
    </dependency>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>%[1]s</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
`

// fetchJars has Maven copy the jars into dir. dir appears whole or not at all.
func fetchJars(ctx context.Context, version, dir string) error {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w Maven for its jars: %w", errMissing, err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	file := filepath.Join(work, "pom.xml")
	if err := os.WriteFile(file, fmt.Appendf(nil, pom, version), 0o644); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	lib := filepath.Join(work, "lib")
	cmd := exec.CommandContext(ctx, mvn, "-q", "-B", "-f", file, "dependency:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+lib)
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w the jars of Kafka %s from Maven: %w\n%s", errMissing, version, err, tail(out, 2000))
	}
	return os.Rename(lib, dir)
}

// tail is the end of a program's output.
func tail(out []byte, limit int) []byte { return out[max(0, len(out)-limit):] }
