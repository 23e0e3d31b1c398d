//go:build e2e

package e2e

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// reloadAnnotation on a Deployment asks Stakater Reloader to restart it when the
// Secret of that name changes: docs/propagation.md has the recipe for programs that
// read the token once.
const reloadAnnotation = "secret.reloader.stakater.com/reload"

// restarted is a Deployment that takes the token from the environment, and is
// restarted whenever the token is replaced.
type restarted struct{ source *source }

func (r restarted) name() string { return r.source.name + "-restarted" }

func (r restarted) start(ctx context.Context, c *cluster) {
	GinkgoHelper()
	one := workload{source: r.source, way: environment}.pod()
	labels := map[string]string{readerLabel: "restarted"}
	one.Spec.Containers[0].Args[0] = "-name=" + r.name()
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Name: r.name(), Namespace: workNamespace, Annotations: map[string]string{reloadAnnotation: r.source.target()},
		},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: one.Spec},
		},
	}
	Expect(c.client.Create(ctx, deployment)).To(Succeed())
}

// playReloader does what Reloader does, as far as it matters here: when a Secret
// changes, it changes the Pod template of those Deployments that name it.
func playReloader(ctx context.Context, c *cluster, targets *history) {
	for target := range targets.changes {
		deployments, err := c.clients.AppsV1().Deployments(workNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue // a missed restart shows as 401s
		}
		for _, d := range deployments.Items {
			if d.Annotations[reloadAnnotation] != target {
				continue
			}
			patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"reloader.stakater.com/last-reloaded-from":%q}}}}}`,
				targets.last(target).Hash)
			_, _ = c.clients.AppsV1().Deployments(workNamespace).Patch(ctx, d.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
		}
	}
}
