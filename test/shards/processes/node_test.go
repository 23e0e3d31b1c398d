package processes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	namespace = "providertoken-system"
	account   = "providertoken-manager"
	loopback  = "127.0.0.1"
	// graceful is the terminationGracePeriodSeconds that ships.
	graceful = 45 * time.Second
)

// node runs what the Deployments in the API server say, as a Deployment's controller and
// kubelets do: of another template it starts one, waits until it is ready, and ends one.
type node struct {
	kubeconfig string
	mu         sync.Mutex
	running    map[string][]*process
	ended      []*process
}

// process is one manager.
type process struct {
	template string
	cmd      *exec.Cmd
	probes   string
	log      *output
	over     chan struct{}
	err      error
}

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

// has tells whether something was written.
func (o *output) has(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Contains(o.text.Bytes(), []byte(text))
}

// newNode starts one that lives as long as the spec, after the install was applied.
func newNode(ctx context.Context) *node {
	GinkgoHelper()
	clients, err := kubernetes.NewForConfig(server.Config)
	Expect(err).NotTo(HaveOccurred())
	review, err := clients.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	Expect(err).NotTo(HaveOccurred())
	file := clientcmdapi.NewConfig()
	file.Clusters["c"] = &clientcmdapi.Cluster{Server: server.Config.Host, CertificateAuthorityData: server.Config.CAData}
	file.AuthInfos["c"] = &clientcmdapi.AuthInfo{Token: review.Status.Token}
	file.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "c"}
	file.CurrentContext = "c"
	n := &node{kubeconfig: filepath.Join(directory, "operator"), running: map[string][]*process{}}
	Expect(clientcmd.WriteToFile(*file, n.kubeconfig)).To(Succeed())

	running, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer GinkgoRecover()
		defer close(done)
		for running.Err() == nil {
			n.sync(running)
			time.Sleep(poll) // as a kubelet looks again
		}
	}()
	DeferCleanup(func() {
		cancel()
		<-done
		for _, name := range n.names() {
			n.scale(running, name, "", 0)
		}
		if CurrentSpecReport().Failed() {
			for i, p := range n.ended {
				GinkgoWriter.Printf("--- process %d: %v\n%s\n", i, p.cmd.Args, p.log.text.String())
			}
		}
	})
	return n
}

// sync makes one round.
func (n *node) sync(ctx context.Context) {
	var list appsv1.DeploymentList
	if err := server.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		Expect(ctx.Err()).To(HaveOccurred(), "listing Deployments: %v", err)
		return
	}
	wanted := map[string]bool{}
	for i := range list.Items {
		d := &list.Items[i]
		wanted[d.Name] = true
		template, err := json.Marshal(d.Spec.Template)
		Expect(err).NotTo(HaveOccurred())
		n.roll(ctx, d, string(template))
		n.tell(ctx, d)
	}
	for _, name := range n.names() {
		if !wanted[name] {
			n.scale(ctx, name, "", 0)
			n.mu.Lock()
			delete(n.running, name)
			n.mu.Unlock()
		}
	}
}

// names are the Deployments that have had processes.
func (n *node) names() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.running))
}

// roll replaces those of other templates one by one, and has as many as wanted.
func (n *node) roll(ctx context.Context, d *appsv1.Deployment, template string) {
	replicas := int(*d.Spec.Replicas)
	for i, old := range n.of(d.Name) {
		if old.template == template {
			continue
		}
		if i < replicas {
			n.start(ctx, d, template)
		}
		n.end(d.Name, old)
	}
	for len(n.of(d.Name)) < replicas && ctx.Err() == nil {
		n.start(ctx, d, template)
	}
	n.scale(ctx, d.Name, template, replicas)
}

func (n *node) of(name string) []*process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*process{}, n.running[name]...)
}

func (n *node) scale(_ context.Context, name, _ string, replicas int) {
	for len(n.of(name)) > replicas {
		n.end(name, n.of(name)[0])
	}
}

// tell writes the status that kubectl rollout status waits for.
func (n *node) tell(ctx context.Context, d *appsv1.Deployment) {
	ready := int32(len(n.of(d.Name)))
	want := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: ready, UpdatedReplicas: ready, ReadyReplicas: ready, AvailableReplicas: ready}
	if d.Status.ObservedGeneration == want.ObservedGeneration && d.Status.AvailableReplicas == ready {
		return
	}
	next := d.DeepCopy()
	next.Status = want
	err := client.IgnoreNotFound(server.Client.Status().Patch(ctx, next, client.MergeFrom(d)))
	if err != nil {
		Expect(ctx.Err()).To(HaveOccurred(), "writing a Deployment's status: %v", err)
	}
}

// start runs one, and returns when it is ready.
func (n *node) start(ctx context.Context, d *appsv1.Deployment, template string) {
	container := d.Spec.Template.Spec.Containers[0]
	environment := map[string]string{}
	for _, e := range container.Env {
		environment[e.Name] = value(e, d.Spec.Template.Labels)
	}
	p := &process{template: template, probes: free(), log: &output{}, over: make(chan struct{})}
	args := []string{"--kubeconfig=" + n.kubeconfig, "--allow-networks=127.0.0.0/8", "--zap-log-level=debug"}
	for _, arg := range container.Args {
		for name, v := range environment {
			arg = strings.ReplaceAll(arg, "$("+name+")", v)
		}
		switch flag, _, _ := strings.Cut(arg, "="); flag {
		case "--health-probe-bind-address":
			arg = flag + "=" + p.probes
		case "--metrics-bind-address":
			arg = flag + "=0"
		}
		args = append(args, arg)
	}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = append(os.Environ(), "POD_NAMESPACE="+environment["POD_NAMESPACE"])
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	Expect(p.cmd.Start()).To(Succeed())
	go func() {
		p.err = p.cmd.Wait()
		close(p.over)
	}()
	n.mu.Lock()
	n.running[d.Name] = append(n.running[d.Name], p)
	n.mu.Unlock()
	for !ready(ctx, p.probes) {
		select {
		case <-ctx.Done():
			return
		case <-p.over:
			Fail(fmt.Sprintf("a manager ended: %v\n%s", p.err, p.log.text.String()))
		case <-time.After(poll):
		}
	}
}

func ready(ctx context.Context, address string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode == http.StatusOK
}

// end ends one as a kubelet does, and takes it off the list.
func (n *node) end(name string, p *process) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.over:
	case <-time.After(graceful):
		_ = p.cmd.Process.Kill()
		<-p.over
		Fail("a manager did not end within its grace period")
	}
	Expect(p.err).NotTo(HaveOccurred(), "the end of a manager:\n%s", p.log.text.String())
	n.mu.Lock()
	defer n.mu.Unlock()
	var left []*process
	for _, q := range n.running[name] {
		if q != p {
			left = append(left, q)
		}
	}
	n.running[name], n.ended = left, append(n.ended, p)
}

// value of an environment variable, as a kubelet finds it.
func value(e corev1.EnvVar, labels map[string]string) string {
	if e.ValueFrom == nil || e.ValueFrom.FieldRef == nil {
		return e.Value
	}
	path := e.ValueFrom.FieldRef.FieldPath
	if path == "metadata.namespace" {
		return namespace
	}
	key := strings.TrimSuffix(strings.TrimPrefix(path, "metadata.labels['"), "']")
	return labels[key]
}

func free() string {
	l, err := net.Listen("tcp", loopback+":0")
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// leader is the one of a Deployment that got the Lease.
func (n *node) leader(name string) *process {
	for _, p := range n.of(name) {
		if p.leads() {
			return p
		}
	}
	return nil
}

func (p *process) leads() bool { return p.log.has("Successfully acquired lease") }

// forget takes one off the list that a spec ended itself; another one is started.
func (n *node) forget(name string, p *process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var left []*process
	for _, q := range n.running[name] {
		if q != p {
			left = append(left, q)
		}
	}
	n.running[name], n.ended = left, append(n.ended, p)
}
