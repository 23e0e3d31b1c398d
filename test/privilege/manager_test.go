package privilege_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	account   = "providertoken-manager"
	buildTime = 5 * time.Minute
	patience  = time.Minute
	polling   = 20 * time.Millisecond
	loopback  = "127.0.0.1"
)

// operator is a process of the manager, as the Deployment of an install says, with
// its ServiceAccount's token.
type operator struct {
	namespace string
	metrics   string
	stop      func()
}

// tokenOf makes a token of a ServiceAccount, as a kubelet does for a pod.
func tokenOf(ctx context.Context, namespace, name string) string {
	GinkgoHelper()
	clients, err := kubernetes.NewForConfig(server.Config)
	Expect(err).NotTo(HaveOccurred())
	review, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	Expect(err).NotTo(HaveOccurred())
	return review.Status.Token
}

// as is a client configuration with somebody's token.
func as(token string) *rest.Config {
	cfg := rest.AnonymousClientConfig(server.Config)
	cfg.BearerToken = token
	cfg.QPS = -1
	return cfg
}

func freePort() string {
	GinkgoHelper()
	l, err := net.Listen("tcp", loopback+":0")
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// run starts the manager that an install deploys, with its flags; only the addresses it
// listens on are others, and the simulated providers may be reached.
func run(ctx context.Context, install objects, env ...string) *operator {
	GinkgoHelper()
	deployment := only[appsv1.Deployment](install, "Deployment")
	pod := deployment.Spec.Template.Spec
	Expect(pod.ServiceAccountName).To(Equal(account))
	o := &operator{namespace: deployment.Namespace}

	cfg := as(tokenOf(ctx, o.namespace, account))
	file := clientcmdapi.NewConfig()
	file.Clusters["c"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	file.AuthInfos["c"] = &clientcmdapi.AuthInfo{Token: cfg.BearerToken}
	file.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "c"}
	file.CurrentContext = "c"
	kubeconfig := filepath.Join(directory, "operator-"+o.namespace)
	Expect(clientcmd.WriteToFile(*file, kubeconfig)).To(Succeed())

	args := []string{"--kubeconfig=" + kubeconfig, "--allow-networks=127.0.0.0/8", "--zap-log-level=debug"}
	for _, arg := range pod.Containers[0].Args {
		flag, value, _ := strings.Cut(arg, "=")
		switch {
		case flag == "--health-probe-bind-address":
			arg = flag + "=0"
		case flag == "--metrics-bind-address" && value != "0":
			o.metrics = freePort()
			arg = flag + "=" + o.metrics
		}
		args = append(args, strings.ReplaceAll(arg, "$(POD_NAMESPACE)", o.namespace))
	}
	log, err := os.CreateTemp(directory, "manager-*.log")
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.Command(binary, args...)
	cmd.Env = append(append(os.Environ(), "POD_NAMESPACE="+o.namespace), env...)
	cmd.Stdout, cmd.Stderr = log, log
	Expect(cmd.Start()).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stopped := false
	o.stop = func() {
		GinkgoHelper()
		if stopped {
			return
		}
		stopped = true
		Expect(cmd.Process.Signal(syscall.SIGTERM)).To(Succeed())
		var err error
		Eventually(ended).Should(Receive(&err))
		Expect(err).NotTo(HaveOccurred(), "the manager's end")
	}
	DeferCleanup(func() {
		if CurrentSpecReport().Failed() {
			said, _ := os.ReadFile(log.Name())
			GinkgoWriter.Println(string(said))
		}
		if !stopped {
			_ = cmd.Process.Kill()
		}
	})
	return o
}

// scrape reads the metrics with a token, and returns the status.
func (o *operator) scrape(ctx context.Context, token string) (int, string) {
	// The manager makes itself a certificate at each start.
	transport := &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyPeerCertificate: selfSigned}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+o.metrics+"/metrics", http.NoBody)
	if err != nil {
		return 0, err.Error()
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func selfSigned(certificates [][]byte, _ [][]*x509.Certificate) error {
	_, err := x509.ParseCertificate(certificates[0])
	return err
}
