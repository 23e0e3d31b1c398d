//go:build crash

package crash

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/providertoken/operator/api/v1alpha1"
)

// shardLabel of ProviderTokens says which trial they belong to: each has operators
// of its own, which share nothing but the API server.
const shardLabel = "trial"

// site is what all trials share.
type site struct {
	cfg     *rest.Config
	k8s     client.WithWatch
	program string
	seed    uint64
	// spawn runs in a thread that lives as long as the test: Linux delivers the
	// parent-death signal when the thread ends that started a process.
	spawn chan func()
}

func newSite(t *testing.T) *site {
	t.Helper()
	seed, err := strconv.ParseUint(fromEnv("SEED", strconv.FormatInt(time.Now().UnixNano(), 10)), 10, 64)
	if err != nil {
		t.Fatal("SEED: ", err)
	}
	t.Logf("SEED=%d", seed)
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	environment := &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join("..", "..", "config", "crd", "bases")}, ErrorIfCRDPathMissing: true}
	environment.ControlPlane.Etcd = &envtest.Etcd{}
	environment.ControlPlane.Etcd.Configure().Append("unsafe-no-fsync", "true")
	cfg, err := environment.Start()
	if err != nil {
		t.Fatal("starting an API server: ", err)
	}
	t.Cleanup(func() { _ = environment.Stop() })
	cfg.QPS = -1
	k8s, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{cfg: cfg, k8s: k8s, program: build(t), seed: seed, spawn: make(chan func())}
	go func() {
		goruntime.LockOSThread()
		for do := range s.spawn {
			do()
		}
	}()
	return s
}

// random draws for one trial; the same for the same seed.
func (s *site) random(trial uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, trial)) }

func (s *site) namespace(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if err := s.k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
}

// create makes objects.
func (s *site) create(ctx context.Context, t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := s.k8s.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
}

// kubeconfig for a server on loopback.
func kubeconfig(t *testing.T, path, server string) string {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["crash"] = &clientcmdapi.Cluster{Server: server}
	c.Contexts["crash"] = &clientcmdapi.Context{Cluster: "crash"}
	c.CurrentContext = "crash"
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// process is an operator.
type process struct {
	id    int
	os    *os.Process
	ended chan struct{}
}

// launch starts the operator's program; it dies with the test.
func (s *site) launch(t *testing.T, id int, out io.Writer, args []string) *process {
	t.Helper()
	cmd := exec.Command(s.program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	s.spawn <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	p := &process{id: id, os: cmd.Process, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	return p
}

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the process for good.
func (p *process) kill() {
	_ = p.os.Signal(syscall.SIGKILL)
	<-p.ended
}

// pause stops the process without its notice, and resume lets it go on.
func (p *process) pause() { _ = p.os.Signal(syscall.SIGSTOP) }

func (p *process) resume() { _ = p.os.Signal(syscall.SIGCONT) }

// logFile collects what operators say.
func logFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "operator-*.log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// once is a set of things that happened.
type once struct {
	mu   sync.Mutex
	seen map[string]bool
}

// first tells whether name is new.
func (o *once) first(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen = map[string]bool{}
	}
	was := o.seen[name]
	o.seen[name] = true
	return !was
}
