//go:build argocd

package gitops

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// environment is what hack/argocd/run.sh and hack/cluster.sh provide.
type environment struct {
	kubeconfig, kubectl, loadImage, image string
	argocd, manifests, dist, provider     string
	customizations, scratch, logs         string
}

func getEnvironment(t *testing.T) environment {
	t.Helper()
	get := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			t.Fatalf("%s is not set: start this test with hack/argocd/run.sh", name)
		}
		return value
	}
	e := environment{
		kubeconfig: get("KUBECONFIG"), kubectl: get("E2E_KUBECTL"), loadImage: os.Getenv("E2E_LOAD_IMAGE"), image: get("GITOPS_IMAGE"),
		argocd: get("GITOPS_ARGOCD"), manifests: get("GITOPS_MANIFESTS"), dist: get("GITOPS_DIST"), provider: get("GITOPS_PROVIDER"),
		customizations: get("GITOPS_CUSTOMIZATIONS"), scratch: t.TempDir(), logs: filepath.Join(get("E2E_LOGS"), "argocd"),
	}
	if err := os.MkdirAll(e.logs, 0o755); err != nil {
		t.Fatal(err)
	}
	return e
}

// crashed holds why nothing is worth waiting for any more: a program ended by
// itself, or the test was interrupted.
var crashed atomic.Pointer[error]

func crash(err error) { crashed.CompareAndSwap(nil, &err) }

// interruptible lets a signal end the test as a failure does, with all that it
// started.
func interruptible(t *testing.T) {
	t.Helper()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(func() { signal.Stop(signals) })
	go func() { crash(fmt.Errorf("interrupted: %s", <-signals)) }()
}

// start runs a program until the test ends; its output goes to a log.
func (e environment) start(t *testing.T, name, path string, variables []string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(e.logs, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), variables...)
	cmd.Dir = e.scratch
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	ended, stopping := make(chan struct{}), new(atomic.Bool)
	go func() {
		err := cmd.Wait()
		if !stopping.Load() {
			crash(fmt.Errorf("%s ended by itself: %w; see %s", name, err, log.Name()))
		}
		close(ended)
	}()
	t.Cleanup(func() {
		defer func() { _ = log.Close() }()
		stopping.Store(true)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
}

// run runs a program to its end and returns what it printed.
func run(t *testing.T, stdin string, variables []string, path string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), variables...)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(path), strings.Join(args, " "), err, out.String(), problems.String())
	}
	return out.String()
}

func (e environment) kubectlRun(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	// Another cluster at the same address must not have filled the cache.
	return run(t, stdin, []string{"KUBECACHEDIR=" + filepath.Join(e.scratch, "kubectl")}, e.kubectl, args...)
}

// freePorts are free on loopback now.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

// argoCD is Argo CD as processes on loopback.
type argoCD struct {
	environment
	server string // of its API
	bin    string
}

// startArgoCD expects its CRDs and ConfigMaps to be in the cluster.
func startArgoCD(t *testing.T, e environment) argoCD {
	t.Helper()
	a := argoCD{environment: e, bin: filepath.Join(e.scratch, "bin")}
	if err := os.MkdirAll(a.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	// One binary, whose name says which program it is; "argocd" in PATH is what the
	// repository server gives git for asking for a password.
	for _, name := range []string{"argocd", "argocd-application-controller", "argocd-repo-server", "argocd-server"} {
		if err := os.Symlink(e.argocd, filepath.Join(a.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	// What the repository server's image has in PATH; the module cache makes nothing executable.
	wrapper, err := os.ReadFile(filepath.Join(filepath.Dir(e.manifests), "hack", "git-verify-wrapper.sh"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.bin, "git-verify-wrapper.sh"), wrapper, 0o755); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(e.scratch, "data")
	for _, directory := range []string{"tls", "ssh", "gpg/keys", "gpg/source", "tmp"} {
		if err := os.MkdirAll(filepath.Join(data, directory), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ports := freePorts(t, 7)
	redis, repository := "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	a.server = "127.0.0.1:" + ports[2]
	variables := []string{
		"PATH=" + a.bin + ":" + os.Getenv("PATH"), "HOME=" + data, "TMPDIR=" + filepath.Join(data, "tmp"),
		"KUBECONFIG=" + e.kubeconfig, "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull,
		"ARGOCD_TLS_DATA_PATH=" + filepath.Join(data, "tls"), "ARGOCD_SSH_DATA_PATH=" + filepath.Join(data, "ssh"),
		"ARGOCD_GPG_ENABLED=false", "ARGOCD_FAKE_IN_CLUSTER=true", "ARGOCD_ASK_PASS_SOCK=" + filepath.Join(data, "ask.sock"),
	}
	e.start(t, "redis", "redis-server", nil, "--port", ports[0], "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	e.start(t, "repo-server", filepath.Join(a.bin, "argocd-repo-server"), variables,
		"--address=127.0.0.1", "--port="+ports[1], "--metrics-address=127.0.0.1", "--metrics-port="+ports[3], "--redis="+redis,
		"--disable-tls", "--client-ca-path=")
	e.start(t, "application-controller", filepath.Join(a.bin, "argocd-application-controller"), variables,
		"--namespace=argocd", "--kubeconfig="+e.kubeconfig, "--metrics-port="+ports[4], "--redis="+redis,
		"--repo-server="+repository, "--repo-server-plaintext", "--app-resync=10", "--app-resync-jitter=0")
	e.start(t, "server", filepath.Join(a.bin, "argocd-server"), variables,
		"--namespace=argocd", "--kubeconfig="+e.kubeconfig, "--address=127.0.0.1", "--port="+ports[2], "--metrics-address=127.0.0.1", "--metrics-port="+ports[5],
		"--redis="+redis, "--repo-server="+repository, "--repo-server-plaintext", "--insecure", "--disable-auth")
	eventually(t, time.Minute, "Argo CD's API server answers", func() error {
		conn, err := net.DialTimeout("tcp", a.server, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return a
}

// cli is the command argocd, as a person runs it.
func (a argoCD) cli(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "", []string{"HOME=" + a.scratch},
		filepath.Join(a.bin, "argocd"), append(args, "--server="+a.server, "--plaintext", "--auth-token=none")...)
}

// provider is a simulated provider of the end-to-end suite, as a process at an
// address that pods reach.
type provider struct {
	admin    string
	resource string
	tokenURL string
	bundle   string
	client   *http.Client
}

const tokenLifetime = 20 * time.Second

// startProvider lets tokens live tokenLifetime. It serves on port 443, since the
// operator's NetworkPolicy lets it go nowhere else.
func startProvider(t *testing.T, e environment, address string) provider {
	t.Helper()
	p := provider{admin: "http://127.0.0.1:" + freePorts(t, 1)[0]}
	e.start(t, "provider", e.provider, nil, "-provider=Generic", "-address="+address, "-listen="+address,
		"-admin="+strings.TrimPrefix(p.admin, "http://"), "-lifetime="+tokenLifetime.String())
	var state struct {
		CABundle  string            `json:"caBundle"`
		Endpoints map[string]string `json:"endpoints"`
	}
	eventually(t, 20*time.Second, "the provider answers", func() error {
		response, err := http.Get(p.admin + "/state")
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		return json.NewDecoder(response.Body).Decode(&state)
	})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(state.CABundle)) {
		t.Fatal("the provider tells no certificate")
	}
	p.bundle, p.tokenURL, p.resource = state.CABundle, state.Endpoints["token"], state.Endpoints["resource"]
	p.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	return p
}

// outage of the token endpoint: error, or none to end it.
func (p provider) outage(t *testing.T, kind string) {
	t.Helper()
	response, err := http.Post(p.admin+"/outage/"+kind, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the provider says %s", response.Status)
	}
}

// accepts asks the provider whether a token works now.
func (p provider) accepts(ctx context.Context, token string) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.resource, http.NoBody)
	if err != nil {
		return false, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := p.client.Do(request)
	if err != nil {
		return false, err
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK, nil
}

// gitServer serves bare repositories. Those whose name starts with "team" want a
// password that the provider accepts as a token at that moment.
type gitServer struct {
	url       string
	directory string
	work      string

	mu       sync.Mutex
	tokens   map[string]int
	refusals int
}

func startGit(t *testing.T, e environment, p provider) *gitServer {
	t.Helper()
	g := &gitServer{directory: filepath.Join(e.scratch, "git"), work: filepath.Join(e.scratch, "work"), tokens: map[string]int{}}
	programs := strings.TrimSpace(run(t, "", nil, "git", "--exec-path"))
	backend := &cgi.Handler{
		Path: filepath.Join(programs, "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + g.directory, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=" + os.DevNull},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/team") && !g.admits(w, r, p) {
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

// admits answers 401 itself.
func (g *gitServer) admits(w http.ResponseWriter, r *http.Request, p provider) bool {
	_, password, given := r.BasicAuth()
	if !given {
		w.Header().Set("WWW-Authenticate", `Basic realm="team"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return false
	}
	works, err := p.accepts(r.Context(), password)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil || !works {
		g.refusals++
		http.Error(w, "this token does not work", http.StatusUnauthorized)
		return false
	}
	g.tokens[password]++
	return true
}

// used tells with how many tokens the guarded repository was read, and how often
// one was refused.
func (g *gitServer) used() (tokens, refusals int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.tokens), g.refusals
}

func (g *gitServer) git(t *testing.T, directory string, args ...string) string {
	t.Helper()
	variables := []string{"GIT_CONFIG_GLOBAL=" + os.DevNull}
	return strings.TrimSpace(run(t, "", variables, "git", append([]string{"-C", directory, "-c", "user.name=somebody", "-c", "user.email=somebody@example.com"}, args...)...))
}

// commit makes files (by path; an empty one is removed) the newest commit of a
// repository, which it creates where needed, and returns the revision.
func (g *gitServer) commit(t *testing.T, repository, message string, files map[string]string) string {
	t.Helper()
	work := filepath.Join(g.work, repository)
	if _, err := os.Stat(work); errors.Is(err, os.ErrNotExist) {
		bare := filepath.Join(g.directory, repository+".git")
		for _, directory := range []string{work, bare} {
			if err := os.MkdirAll(directory, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		g.git(t, bare, "init", "--quiet", "--bare", "--initial-branch=main")
		g.git(t, work, "init", "--quiet", "--initial-branch=main")
		g.git(t, work, "remote", "add", "origin", bare)
	}
	for path, text := range files {
		file := filepath.Join(work, path)
		if text == "" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	g.git(t, work, "add", "--all")
	g.git(t, work, "commit", "--quiet", "-m", message)
	g.git(t, work, "push", "--quiet", "origin", "main")
	return g.git(t, work, "rev-parse", "HEAD")
}

// eventually waits until probe has no complaint.
func eventually(t *testing.T, within time.Duration, what string, probe func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := probe()
		if err == nil {
			return
		}
		if reason := crashed.Load(); reason != nil {
			t.Fatal(*reason)
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s it is not true that %s: %v", within, what, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// reachable is the address of this machine that pods reach: the one by which it
// reaches the node.
func reachable(t *testing.T, node string) string {
	t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(node, "9"))
	if err != nil {
		t.Fatalf("finding the way to node %s: %v", node, err)
	}
	defer func() { _ = conn.Close() }()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	if net.ParseIP(host).IsLoopback() {
		t.Fatalf("node %s is reached over loopback, which pods cannot", node)
	}
	return host
}

var errNotYet = errors.New("not yet")

func notYet(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errNotYet}, args...)...)
}
