package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// managerUser is the ServiceAccount of config/rbac: the operator has here exactly the
// rights that it has in a cluster.
const (
	operatorNamespace = "providertoken-system"
	managerUser       = "system:serviceaccount:" + operatorNamespace + ":providertoken-manager"
)

// plane is an API server with etcd, for one run.
type plane struct {
	environment *envtest.Environment
	// admin is what the bench itself uses.
	admin *rest.Config
	core  *kubernetes.Clientset
	// adminKubeconfig and managerKubeconfig are files.
	adminKubeconfig, managerKubeconfig string
}

func startPlane(directory string) (*plane, error) {
	p := &plane{environment: &envtest.Environment{}}
	p.environment.ControlPlane.Etcd = &envtest.Etcd{}
	p.environment.ControlPlane.Etcd.Configure().Append("unsafe-no-fsync", "true").Append("quota-backend-bytes", "8589934592")
	config, err := p.environment.Start()
	if err != nil {
		return p, fmt.Errorf("starting an API server: %w", err)
	}
	p.admin = rest.CopyConfig(config)
	p.admin.QPS = -1
	p.admin.WarningHandler = rest.NoWarnings{}
	protobuf := rest.CopyConfig(p.admin)
	protobuf.ContentType = "application/vnd.kubernetes.protobuf"
	if p.core, err = kubernetes.NewForConfig(protobuf); err != nil {
		return p, fmt.Errorf("making a client: %w", err)
	}
	if p.adminKubeconfig, err = p.kubeconfig(directory, "admin", "system:masters"); err != nil {
		return p, err
	}
	p.managerKubeconfig, err = p.kubeconfig(directory, managerUser)
	return p, err
}

func (p *plane) kubeconfig(directory, user string, groups ...string) (string, error) {
	added, err := p.environment.AddUser(envtest.User{Name: user, Groups: groups}, nil)
	if err != nil {
		return "", fmt.Errorf("adding a user: %w", err)
	}
	content, err := added.KubeConfig()
	if err != nil {
		return "", fmt.Errorf("making a kubeconfig: %w", err)
	}
	name := filepath.Join(directory, strings.ReplaceAll(user, ":", "-")+".kubeconfig")
	return name, os.WriteFile(name, content, 0o600)
}

// install applies files with kubectl, as an admin would.
func (p *plane) install(ctx context.Context, files []string) error {
	for _, f := range files {
		args := []string{"--kubeconfig=" + p.adminKubeconfig, "apply", "--server-side", "--force-conflicts", "-f", f}
		command := exec.CommandContext(ctx, p.environment.ControlPlane.KubectlPath, args...)
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("kubectl apply --server-side -f %s: %w\n%s", f, err, out)
		}
	}
	wait := []string{"--kubeconfig=" + p.adminKubeconfig, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"}
	if out, err := exec.CommandContext(ctx, p.environment.ControlPlane.KubectlPath, wait...).CombinedOutput(); err != nil {
		return fmt.Errorf("waiting for the CRDs: %w\n%s", err, out)
	}
	return nil
}

// requests asks the API server what it has served.
func (p *plane) requests(ctx context.Context) (requests, error) {
	metrics, err := p.core.RESTClient().Get().AbsPath("/metrics").SetHeader("Accept", "text/plain").DoRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	if !bytes.Contains(metrics, []byte("apiserver_request_total{")) {
		return nil, errors.New("the API server's metrics lack apiserver_request_total")
	}
	return requestsOf(metrics)
}

func (p *plane) stop() error { return p.environment.Stop() }
