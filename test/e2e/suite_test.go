//go:build e2e

// Package e2e proves on a real cluster what the operator promises: that Pods which
// mount a target Secret always read a token that the provider accepts. It installs
// the manifests that users get, runs the simulated providers and the workloads as
// Pods, and breaks one thing after another while the workloads go on.
//
// hack/e2e.sh builds what it needs and runs it. It reads:
//
//	KUBECONFIG           the cluster
//	E2E_KUBECTL          kubectl; the one in PATH when empty
//	E2E_LOGS             directory for what failed and for the results
//	E2E_IMAGES           directory of image archives, as hack/e2e.sh writes them
//	E2E_LOAD_IMAGE       command that makes an archive's image known to the nodes;
//	                     when empty, the images must be there already
//	E2E_RESTART_KUBELET  command that restarts a node's kubelet; its scenario is
//	                     skipped when empty
//	E2E_SECONDS          how long the steady phase lasts at least
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

const (
	operatorNamespace = "providertoken-system"
	operatorName      = "providertoken-manager"
	workNamespace     = "providertoken-e2e"
	providerNamespace = "providertoken-e2e-providers"

	// soon is for what a cluster does at once, however busy it is.
	soon = 2 * time.Minute
	poll = 250 * time.Millisecond
)

func TestEndToEnd(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "end to end")
}

// cluster is where it all happens.
type cluster struct {
	client  client.Client
	clients kubernetes.Interface
	kubectl string
	logs    string
	// crds and install are the manifests that users apply; config is where overlays of
	// theirs point.
	crds, install, config string
}

func connect() *cluster {
	GinkgoHelper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	Expect(err).NotTo(HaveOccurred(), "KUBECONFIG must name a cluster; hack/e2e.sh brings one up")
	config.QPS = -1
	Expect(v1alpha1.AddToScheme(clientgoscheme.Scheme)).To(Succeed())
	c := &cluster{kubectl: os.Getenv("E2E_KUBECTL"), logs: os.Getenv("E2E_LOGS")}
	c.client, err = client.New(config, client.Options{Scheme: clientgoscheme.Scheme})
	Expect(err).NotTo(HaveOccurred())
	c.clients, err = kubernetes.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	if c.kubectl == "" {
		c.kubectl = "kubectl"
	}
	if c.logs == "" {
		c.logs, err = os.MkdirTemp("", "providertoken-e2e-")
		Expect(err).NotTo(HaveOccurred())
	}
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..")
	c.crds, c.install = filepath.Join(root, "dist", "crds.yaml"), filepath.Join(root, "dist", "install.yaml")
	c.config = filepath.Join(root, "config")
	return c
}

// run is kubectl, as a person would type it.
func (c *cluster) run(ctx context.Context, args ...string) string {
	GinkgoHelper()
	out, err := c.try(ctx, args...)
	Expect(err).NotTo(HaveOccurred(), "kubectl %s\n%s", strings.Join(args, " "), out)
	return out
}

func (c *cluster) try(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, c.kubectl, args...).CombinedOutput()
	return string(out), err
}

// overlay writes a kustomization as a user would who adds a component to the
// default installation, and returns its directory.
func (c *cluster) overlay(component string) string {
	GinkgoHelper()
	directory := filepath.Join(c.logs, "overlay-"+component)
	Expect(os.MkdirAll(directory, 0o755)).To(Succeed())
	// Bases are named relative to the directory, with all its links followed.
	from, err := filepath.EvalSymlinks(directory)
	Expect(err).NotTo(HaveOccurred())
	to, err := filepath.EvalSymlinks(c.config)
	Expect(err).NotTo(HaveOccurred())
	config, err := filepath.Rel(from, to)
	Expect(err).NotTo(HaveOccurred())
	content := fmt.Sprintf("resources: [%s/default]\ncomponents: [%s/%s]\n", config, config, component)
	Expect(os.WriteFile(filepath.Join(directory, "kustomization.yaml"), []byte(content), 0o644)).To(Succeed())
	return directory
}

// loadImages makes every archive's image known to the nodes.
func (c *cluster) loadImages(ctx context.Context) {
	GinkgoHelper()
	load := os.Getenv("E2E_LOAD_IMAGE")
	if load == "" {
		return
	}
	archives, err := filepath.Glob(filepath.Join(os.Getenv("E2E_IMAGES"), "*.tar"))
	Expect(err).NotTo(HaveOccurred())
	Expect(archives).NotTo(BeEmpty(), "E2E_IMAGES must hold what hack/e2e.sh builds")
	for _, archive := range archives {
		shell(ctx, load+` "$1"`, archive)
	}
}

// shell runs a command that the environment brought.
func shell(ctx context.Context, command string, args ...string) {
	GinkgoHelper()
	out, err := exec.CommandContext(ctx, "sh", append([]string{"-c", command, "sh"}, args...)...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s\n%s", command, out)
}

// fetch asks a Pod of the suite through the API server.
func (c *cluster) fetch(ctx context.Context, namespace, pod, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	raw, err := c.clients.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").Name(pod + ":8080").
		SubResource("proxy").Suffix(path).DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("asking %s/%s: %w", namespace, pod, err)
	}
	return json.Unmarshal(raw, into)
}

// instruct tells a Pod of the suite to do something.
func (c *cluster) instruct(ctx context.Context, namespace, pod, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.clients.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod + ":8080").
		SubResource("proxy").Suffix(path).Do(ctx).Error()
}

// dump writes down what a person needs to understand a failure.
func (c *cluster) dump(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	directory := filepath.Join(c.logs, name)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		GinkgoWriter.Println("nothing is dumped:", err)
		return
	}
	for file, args := range map[string][]string{
		"pods.yaml":      {"get", "pods", "--all-namespaces", "-o", "yaml"},
		"pods.txt":       {"get", "pods", "--all-namespaces", "-o", "wide"},
		"events.txt":     {"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
		"objects.yaml":   {"get", "providertokens,tokenproviders,clustertokenproviders", "--all-namespaces", "-o", "yaml"},
		"nodes.txt":      {"describe", "nodes"},
		"operator.log":   {"logs", "-n", operatorNamespace, "-l", "app.kubernetes.io/component=manager", "--prefix", "--timestamps", "--tail=-1"},
		"previous.log":   {"logs", "-n", operatorNamespace, "-l", "app.kubernetes.io/component=manager", "--prefix", "--previous", "--tail=-1"},
		"readers.log":    {"logs", "-n", workNamespace, "-l", readerLabel, "--prefix", "--tail=-1", "--max-log-requests=50"},
		"deployment.txt": {"describe", "-n", operatorNamespace, "deployments,replicasets,leases"},
	} {
		out, err := c.try(ctx, args...)
		if err != nil {
			out += "\n" + err.Error()
		}
		_ = os.WriteFile(filepath.Join(directory, file), []byte(out), 0o644)
	}
	GinkgoWriter.Println("pods, events, objects and logs at the time of the failure:", directory)
}
