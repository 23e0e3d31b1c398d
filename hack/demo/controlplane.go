package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/providertoken/operator/hack/internal/pki"
)

const (
	// startPatience is how long a program may take until it answers.
	startPatience = 60 * time.Second
	pollEvery     = 200 * time.Millisecond
	// managerUser is the ServiceAccount of config/rbac, so that the manager has
	// here exactly the rights that it has in a cluster.
	managerUser = "system:serviceaccount:" + operatorNamespace + ":providertoken-manager"
)

// controlPlane is etcd and kube-apiserver on loopback, alive until stop.
type controlPlane struct {
	// kubeconfig of an admin, and of the manager.
	kubeconfig, managerKubeconfig string

	directory string
	url       string
	authority *pki.Authority
	processes []*process
}

// startControlPlane returns when the API server is ready. What it started so far
// is in the result even when there is an error.
func startControlPlane(ctx context.Context, assets, directory string) (*controlPlane, error) {
	ca, err := pki.NewAuthority("providertoken demo")
	if err != nil {
		return nil, err
	}
	c := &controlPlane{directory: directory, authority: ca}
	addresses, err := freeAddresses(2)
	if err != nil {
		return c, err
	}
	etcdURL := "http://" + addresses[0]
	if err := c.startEtcd(assets, etcdURL); err != nil {
		return c, err
	}
	c.url = "https://" + addresses[1]
	if err := c.startAPIServer(assets, etcdURL, addresses[1]); err != nil {
		return c, err
	}
	if c.kubeconfig, err = c.writeKubeconfig("kubeconfig", "admin", "system:masters"); err != nil {
		return c, err
	}
	if c.managerKubeconfig, err = c.writeKubeconfig("manager.kubeconfig", managerUser); err != nil {
		return c, err
	}
	err = c.awaitReady(ctx)
	return c, err
}

func (c *controlPlane) startEtcd(assets, clientURL string) error {
	return c.start(filepath.Join(assets, "etcd"),
		"--data-dir="+filepath.Join(c.directory, "etcd"),
		"--listen-client-urls="+clientURL,
		"--advertise-client-urls="+clientURL,
		"--listen-peer-urls=http://127.0.0.1:0",
		"--unsafe-no-fsync",
		"--log-level=warn",
	)
}

func (c *controlPlane) startAPIServer(assets, etcdURL, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("reading the API server's address: %w", err)
	}
	serving, err := c.authority.Server("localhost", host)
	if err != nil {
		return err
	}
	accounts, err := c.authority.Client("service-accounts") // of this, only the key is used
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.crt": c.authority.Pair.Certificate, "server.crt": serving.Certificate, "server.key": serving.Key, "accounts.key": accounts.Key,
	} {
		if err := os.WriteFile(c.file(name), content, 0o600); err != nil {
			return fmt.Errorf("writing the API server's keys: %w", err)
		}
	}
	return c.start(filepath.Join(assets, "kube-apiserver"),
		"--etcd-servers="+etcdURL,
		"--bind-address="+host,
		"--advertise-address="+host,
		"--endpoint-reconciler-type=none", // it refuses to publish a loopback address
		"--secure-port="+port,
		"--tls-cert-file="+c.file("server.crt"),
		"--tls-private-key-file="+c.file("server.key"),
		"--client-ca-file="+c.file("ca.crt"),
		"--authorization-mode=RBAC",
		"--disable-admission-plugins=ServiceAccount", // no controller makes the default accounts
		"--service-account-issuer="+c.url,
		"--service-account-key-file="+c.file("accounts.key"),
		"--service-account-signing-key-file="+c.file("accounts.key"),
		"--service-cluster-ip-range=10.0.0.0/24",
	)
}

func (c *controlPlane) start(path string, args ...string) error {
	p, err := startProcess(c.directory, path, args...)
	if err != nil {
		return err
	}
	c.processes = append(c.processes, p)
	return nil
}

func (c *controlPlane) file(name string) string { return filepath.Join(c.directory, name) }

func (c *controlPlane) writeKubeconfig(name, user string, groups ...string) (string, error) {
	pair, err := c.authority.Client(user, groups...)
	if err != nil {
		return "", err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["demo"] = &clientcmdapi.Cluster{Server: c.url, CertificateAuthorityData: c.authority.Pair.Certificate}
	config.AuthInfos["demo"] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.Certificate, ClientKeyData: pair.Key}
	config.Contexts["demo"] = &clientcmdapi.Context{Cluster: "demo", AuthInfo: "demo", Namespace: demoNamespace}
	config.CurrentContext = "demo"
	if err := clientcmd.WriteToFile(*config, c.file(name)); err != nil {
		return "", fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return c.file(name), nil
}

// rest is an admin's client configuration, without a limit on requests.
func (c *controlPlane) rest() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS = -1
	return config, nil
}

func (c *controlPlane) awaitReady(ctx context.Context) error {
	config, err := c.rest()
	if err != nil {
		return err
	}
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	return await(ctx, "the API server", c.processes, func(ctx context.Context) bool {
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
	})
}

// stop ends the API server first, then etcd, and removes the data; logs stay.
func (c *controlPlane) stop() error {
	var errs []error
	for _, p := range slices.Backward(c.processes) {
		errs = append(errs, p.stop())
	}
	errs = append(errs, os.RemoveAll(c.file("etcd")))
	return errors.Join(errs...)
}

// await polls until ready, and gives up when a process ends or patience does.
func await(ctx context.Context, what string, processes []*process, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("%s was not ready within %s", what, startPatience))
	defer cancel()
	for !ready(ctx) {
		for _, p := range processes {
			select {
			case <-p.ended:
				return p.failure()
			default:
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
	return nil
}

// freeAddresses finds addresses on loopback that nobody listens on at this moment.
func freeAddresses(n int) (addresses []string, err error) {
	// All are held until the last is found, so that they differ.
	var held []net.Listener
	defer func() {
		for _, listener := range held {
			err = errors.Join(err, listener.Close())
		}
	}()
	for range n {
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		held = append(held, listener)
		addresses = append(addresses, listener.Addr().String())
	}
	return addresses, nil
}
