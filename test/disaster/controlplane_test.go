package disaster_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	testworld "github.com/providertoken/operator/test/world"
)

// controlPlane is an API server with etcd that can be stopped, and whose etcd can be
// given the data that it once had. Ports and keys stay, so that clients notice nothing else.
type controlPlane struct {
	*testworld.Server
	folder            string
	etcdPort, apiPort int
	etcd, apiServer   *exec.Cmd
}

// newControlPlane starts one that knows the CRDs.
func newControlPlane(ctx context.Context) *controlPlane {
	GinkgoHelper()
	p := &controlPlane{folder: GinkgoT().TempDir(), etcdPort: freePort(ctx), apiPort: freePort(ctx)}
	Expect(os.WriteFile(p.path("tokens.csv"), []byte("administrator,administrator,1,system:masters\n"), 0o600)).To(Succeed())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	der, err := x509.MarshalECPrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(p.path("accounts.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)).To(Succeed())
	DeferCleanup(p.stop)
	DeferCleanup(func() {
		if said, err := os.ReadFile(p.path("kube-apiserver.log")); err == nil && CurrentSpecReport().Failed() {
			GinkgoWriter.Println(string(said[max(0, len(said)-4000):]))
		}
	})
	p.start(ctx)
	p.Server = &testworld.Server{Scheme: server.Scheme, Leaks: server.Leaks, Config: &rest.Config{
		Host: fmt.Sprintf("https://127.0.0.1:%d", p.apiPort), BearerToken: "administrator", QPS: -1,
		TLSClientConfig: rest.TLSClientConfig{CAFile: p.path("certificates/apiserver.crt")},
	}}
	_, err = envtest.InstallCRDs(p.Config, envtest.CRDInstallOptions{Paths: []string{filepath.Join(testworld.Root(), "config", "crd", "bases")}, ErrorIfPathMissing: true})
	Expect(err).NotTo(HaveOccurred())
	p.Client, err = client.New(p.Config, client.Options{Scheme: p.Scheme})
	Expect(err).NotTo(HaveOccurred())
	return p
}

func freePort(ctx context.Context) int {
	GinkgoHelper()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = l.Close() }()
	address, ok := l.Addr().(*net.TCPAddr)
	Expect(ok).To(BeTrue())
	return address.Port
}

func (p *controlPlane) path(name string) string { return filepath.Join(p.folder, name) }

// run starts a program of the envtest assets.
func (p *controlPlane) run(name string, args ...string) *exec.Cmd {
	GinkgoHelper()
	cmd := exec.Command(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), name), args...)
	cmd.Dir = p.folder
	said, err := os.OpenFile(p.path(name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = said.Close() }()
	cmd.Stdout, cmd.Stderr = said, said
	Expect(cmd.Start()).To(Succeed())
	return cmd
}

func (p *controlPlane) startEtcd(ctx context.Context) {
	GinkgoHelper()
	address := fmt.Sprintf("http://127.0.0.1:%d", p.etcdPort)
	p.etcd = p.run("etcd", "--data-dir", p.path("data"), "--listen-client-urls", address, "--advertise-client-urls", address,
		"--listen-peer-urls", "http://127.0.0.1:0", "--unsafe-no-fsync")
	healthy(ctx, http.DefaultClient, address+"/health")
}

func (p *controlPlane) start(ctx context.Context) {
	GinkgoHelper()
	p.startEtcd(ctx)
	p.apiServer = p.run("kube-apiserver", "--etcd-servers", fmt.Sprintf("http://127.0.0.1:%d", p.etcdPort),
		"--bind-address=127.0.0.1", "--secure-port", fmt.Sprint(p.apiPort), "--cert-dir", p.path("certificates"),
		"--token-auth-file", p.path("tokens.csv"), "--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount",
		"--service-cluster-ip-range=10.0.0.0/24", "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file", p.path("accounts.key"), "--service-account-signing-key-file", p.path("accounts.key"))
	cfg := &rest.Config{Host: fmt.Sprintf("https://127.0.0.1:%d", p.apiPort), BearerToken: "administrator", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	probe, err := rest.HTTPClientFor(cfg)
	Expect(err).NotTo(HaveOccurred())
	defer probe.CloseIdleConnections()
	healthy(ctx, probe, cfg.Host+"/readyz")
}

func healthy(ctx context.Context, c *http.Client, address string) {
	GinkgoHelper()
	Eventually(func() (int, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
		if err != nil {
			return 0, err
		}
		resp, err := c.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}).WithPolling(50 * time.Millisecond).Should(Equal(http.StatusOK))
}

func end(cmd *exec.Cmd, how os.Signal) {
	if cmd != nil && cmd.ProcessState == nil {
		_ = cmd.Process.Signal(how)
		_ = cmd.Wait()
	}
}

func (p *controlPlane) stop() {
	end(p.apiServer, syscall.SIGKILL)
	end(p.etcd, syscall.SIGKILL)
}

// backup is what etcd holds now.
func (p *controlPlane) backup(ctx context.Context, name string) {
	GinkgoHelper()
	end(p.etcd, syscall.SIGKILL) // its log of writes is whole
	Expect(os.CopyFS(p.path(name), os.DirFS(p.path("data")))).To(Succeed())
	p.startEtcd(ctx)
}

// restore brings the whole cluster back to what it was: resource versions go backwards.
func (p *controlPlane) restore(ctx context.Context, name string) {
	GinkgoHelper()
	p.stop()
	Expect(os.RemoveAll(p.path("data"))).To(Succeed())
	Expect(os.CopyFS(p.path("data"), os.DirFS(p.path(name)))).To(Succeed())
	p.start(ctx)
}
