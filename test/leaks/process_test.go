package leaks_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// output is what a process writes, for a reader at the same time.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.text.Bytes())
}

func kubeconfig(cfg *rest.Config) string {
	c := clientcmdapi.NewConfig()
	c.Clusters["it"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	c.AuthInfos["it"] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
	c.Contexts["it"] = &clientcmdapi.Context{Cluster: "it", AuthInfo: "it"}
	c.CurrentContext = "it"
	path := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(clientcmd.WriteToFile(*c, path)).To(Succeed())
	return path
}

func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func scrape(address string) string {
	resp, err := http.Get(address)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

var _ = Describe("The manager's process", func() {
	It("shows no secret in its most verbose log, its metrics and its last words, and leaves no core", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		binary := filepath.Join(GinkgoT().TempDir(), "manager")
		build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, ".")
		build.Dir = testworld.Root()
		said, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(said))

		port := freePort()
		// The shell lifts the limit on core files; the process must be mindful by itself.
		manager := exec.CommandContext(ctx, "sh", "-c", `ulimit -c unlimited; exec "$0" "$@"`, binary,
			"--kubeconfig="+kubeconfig(server.Config), "--watch-label-selector=spec="+w.Namespace, "--operator-namespace="+w.Namespace,
			"--leader-elect=false", fmt.Sprintf("--metrics-bind-address=127.0.0.1:%d", port), "--metrics-secure=false", "--health-probe-bind-address=0",
			"--allow-networks=127.0.0.0/8", "--zap-log-level=127", "--zap-devel", "--otlp-endpoint="+w.Collector.URL)
		manager.Dir = GinkgoT().TempDir()
		manager.Env = append(os.Environ(), "GOTRACEBACK=crash")
		log := &output{}
		manager.Stdout, manager.Stderr = log, log
		Expect(manager.Start()).To(Succeed())
		DeferCleanup(func() { _ = manager.Process.Kill() })

		w.Credentials(ctx, "plantpredict", map[string]string{
			"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret,
		})
		w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": "wrong-password-5e1d"})
		works, fails := w.Wanted("plantpredict"), w.Wanted("up42")
		for _, pt := range []*v1alpha1.ProviderToken{works, fails} {
			pt.Labels = map[string]string{"spec": w.Namespace}
			w.Create(ctx, pt)
		}
		w.Ready(ctx, works)
		w.Becomes(ctx, fails, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonLoginFrozen)
		// The manager was started by hand: nobody listened to its exchanges.
		server.Leaks.Secret(w.Token(ctx, works), "the token")

		exposed := scrape(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		Expect(exposed).To(ContainSubstring("providertoken_"))
		server.Leaks.Text("metrics of the process", []byte(exposed))

		Expect(manager.Process.Signal(syscall.SIGABRT)).To(Succeed())
		var ended *exec.ExitError
		Expect(errors.As(manager.Wait(), &ended)).To(BeTrue())
		status, known := ended.Sys().(syscall.WaitStatus)
		Expect(known).To(BeTrue())
		Expect(status.Signal()).To(Equal(syscall.SIGABRT))
		Expect(status.CoreDump()).To(BeFalse(), "the kernel wrote a core file")
		last := log.bytes()
		Expect(string(last)).To(And(ContainSubstring("SIGABRT: abort"), ContainSubstring("goroutine "), ContainSubstring("wrote the target"), ContainSubstring(`{"log":"audit"`)))
		server.Leaks.Text("log and last words of the process", last)
	})
})
