//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const leaseName = "providertoken-operator"

// operatorPods of the current Deployment that are not going away.
func operatorPods(ctx context.Context, c *cluster) []corev1.Pod {
	GinkgoHelper()
	var pods corev1.PodList
	Expect(c.client.List(ctx, &pods, client.InNamespace(operatorNamespace),
		client.MatchingLabels{"app.kubernetes.io/component": "manager"})).To(Succeed())
	var alive []corev1.Pod
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil {
			alive = append(alive, pod)
		}
	}
	return alive
}

// awaitOperator waits until the Deployment is rolled out and somebody leads.
func awaitOperator(ctx context.Context, c *cluster) {
	GinkgoHelper()
	Eventually(func() error {
		var d appsv1.Deployment
		if err := c.client.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: operatorName}, &d); err != nil {
			return err
		}
		want := *d.Spec.Replicas
		if d.Status.ObservedGeneration != d.Generation || d.Status.UpdatedReplicas != want || d.Status.Replicas != want || d.Status.ReadyReplicas != want {
			return fmt.Errorf("%d of %d replicas are ready, %d updated, %d in all", d.Status.ReadyReplicas, want, d.Status.UpdatedReplicas, d.Status.Replicas)
		}
		leader, err := holder(ctx, c)
		if err != nil {
			return err
		}
		for _, pod := range operatorPods(ctx, c) {
			if leads(leader, pod.Name) {
				return nil
			}
		}
		return fmt.Errorf("the Lease is held by %q, which is none of the Pods", leader)
	}).WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(Succeed())
}

// holder of the Lease: the leader's Pod and a random part.
func holder(ctx context.Context, c *cluster) (string, error) {
	var lease coordinationv1.Lease
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: operatorNamespace, Name: leaseName}, &lease); err != nil {
		return "", err
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return "", errors.New("nobody leads")
	}
	return *lease.Spec.HolderIdentity, nil
}

func leads(holder, pod string) bool { return strings.HasPrefix(holder, pod+"_") }

// crash ends the manager of a Pod as a bug would: at once, without giving up the
// Lease. The image holds nothing that could do that, so a container is added that
// shares the manager's processes.
func crash(ctx context.Context, c *cluster, pod corev1.Pod) {
	GinkgoHelper()
	security := containerSecurity()
	pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers, corev1.EphemeralContainer{
		TargetContainerName: "manager",
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "crash", Image: readerImage, ImagePullPolicy: corev1.PullIfNotPresent,
			Args: []string{"-crash=1"}, SecurityContext: security,
		},
	})
	_, err := c.clients.CoreV1().Pods(pod.Namespace).UpdateEphemeralContainers(ctx, pod.Name, &pod, metav1.UpdateOptions{})
	Expect(err).NotTo(HaveOccurred())
	Eventually(func() error {
		var now corev1.Pod
		if err := c.client.Get(ctx, client.ObjectKeyFromObject(&pod), &now); err != nil {
			return err
		}
		for _, s := range now.Status.ContainerStatuses {
			if s.Name == "manager" && (s.State.Terminated != nil || s.RestartCount > 0) {
				return nil
			}
		}
		return errors.New("the manager has not crashed")
	}).WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(Succeed())
}

// begin of a manager.
type begin struct {
	// container is when the runtime started it, in whole seconds: up to one too early.
	container time.Time
	// line is when it first wrote something, workers when it began to reconcile.
	line, workers time.Time
}

func (b begin) String() string {
	return fmt.Sprintf("%s after its first line, less than %s after its container's start (goal 2 s)",
		seconds(b.workers.Sub(b.line)), seconds(b.workers.Sub(b.container)))
}

// beginOf the leader.
func beginOf(ctx context.Context, c *cluster) begin {
	GinkgoHelper()
	leader, err := holder(ctx, c)
	Expect(err).NotTo(HaveOccurred())
	var b begin
	for _, p := range operatorPods(ctx, c) {
		if !leads(leader, p.Name) {
			continue
		}
		b.container = p.Status.ContainerStatuses[0].State.Running.StartedAt.Time
		Eventually(func() error { return b.read(ctx, c, p.Name) }).
			WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(Succeed())
	}
	Expect(b.workers).NotTo(BeZero(), "the leader %q is none of the Pods", leader)
	return b
}

// read finds the lines in the log. The runtime stamps them.
func (b *begin) read(ctx context.Context, c *cluster, pod string) error {
	stream, err := c.clients.CoreV1().Pods(operatorNamespace).GetLogs(pod, &corev1.PodLogOptions{Timestamps: true}).Stream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		stamp, text, _ := strings.Cut(lines.Text(), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			return err
		}
		if b.line.IsZero() {
			b.line = at
		}
		if strings.Contains(text, `"Starting workers","controller":"providertoken"`) {
			b.workers = at
			return nil
		}
	}
	return fmt.Errorf("%s has not said that it started its workers (%w)", pod, errors.Join(lines.Err()))
}

// workingSet is the memory of the operator's Pods as their kubelets count it.
func workingSet(ctx context.Context, c *cluster) string {
	var told []string
	for _, pod := range operatorPods(ctx, c) {
		var summary struct {
			Pods []struct {
				PodRef struct {
					Name      string `json:"name"`
					Namespace string `json:"namespace"`
				} `json:"podRef"`
				Memory struct {
					WorkingSetBytes int64 `json:"workingSetBytes"`
				} `json:"memory"`
			} `json:"pods"`
		}
		raw, err := c.clients.CoreV1().RESTClient().Get().Resource("nodes").Name(pod.Spec.NodeName).
			SubResource("proxy").Suffix("stats/summary").DoRaw(ctx)
		if err != nil || json.Unmarshal(raw, &summary) != nil {
			return "not known: the kubelet does not tell"
		}
		for _, p := range summary.Pods {
			if p.PodRef.Name == pod.Name && p.PodRef.Namespace == operatorNamespace {
				told = append(told, fmt.Sprintf("%.0f MiB", float64(p.Memory.WorkingSetBytes)/(1<<20)))
			}
		}
	}
	return strings.Join(told, ", ")
}

// kubeletStarts tells when the kubelet of each node began, by its own word.
func kubeletStarts(ctx context.Context, c *cluster) map[string]string {
	GinkgoHelper()
	starts := map[string]string{}
	Eventually(func() error {
		var nodes corev1.NodeList
		if err := c.client.List(ctx, &nodes); err != nil {
			return err
		}
		for i := range nodes.Items {
			name := nodes.Items[i].Name
			raw, err := c.clients.CoreV1().RESTClient().Get().Resource("nodes").Name(name).SubResource("proxy").Suffix("metrics").DoRaw(ctx)
			if err != nil {
				return err
			}
			_, after, found := strings.Cut(string(raw), "\nprocess_start_time_seconds ")
			if !found {
				return fmt.Errorf("the kubelet of node %s does not tell when it began", name)
			}
			starts[name], _, _ = strings.Cut(after, "\n")
		}
		return nil
	}).WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(Succeed())
	return starts
}
