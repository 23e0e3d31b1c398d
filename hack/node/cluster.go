package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/providertoken/operator/hack/internal/pki"
)

// startPatience is how long a part may take until it answers, on a slow machine.
const startPatience = 2 * time.Minute

const pollEvery = 100 * time.Millisecond

// cluster answers whether a part is ready yet.
type cluster struct{ client kubernetes.Interface }

func newCluster(kubeconfig string) (cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return cluster{}, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return cluster{}, fmt.Errorf("making a client: %w", err)
	}
	return cluster{client}, nil
}

func (c cluster) serving(ctx context.Context) bool {
	return c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
}

func (c cluster) nodeReady(ctx context.Context) bool {
	node, err := c.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return false
	}
	ready := slices.ContainsFunc(node.Status.Conditions, func(condition corev1.NodeCondition) bool {
		return condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue
	})
	// The taint goes a moment after; before, nothing is scheduled.
	return ready && len(node.Spec.Taints) == 0
}

func (c cluster) accountExists(ctx context.Context) bool {
	_, err := c.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	return err == nil
}

// serviceReachable tells that kube-proxy has written its rules.
func serviceReachable(ctx context.Context) bool {
	connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(serviceIP, "443"))
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// await polls until ready; it gives up when patience ends, or ctx for its own cause.
func await(ctx context.Context, what string, ready func(context.Context) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("%s was not ready within %s", what, startPatience))
	defer cancel()
	for !ready(ctx) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
	return nil
}

func writeKubeconfig(file, user string, authority []byte, pair pki.Pair) error {
	config := clientcmdapi.NewConfig()
	config.Clusters[nodeName] = &clientcmdapi.Cluster{Server: apiURL, CertificateAuthorityData: authority}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.Certificate, ClientKeyData: pair.Key}
	config.Contexts[nodeName] = &clientcmdapi.Context{Cluster: nodeName, AuthInfo: user}
	config.CurrentContext = nodeName
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return nil
}
