package world

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

// Edit changes pt by a patch, whatever the operator writes meanwhile.
func (w *World) Edit(ctx context.Context, pt *v1alpha1.ProviderToken, change func(*v1alpha1.ProviderToken)) {
	GinkgoHelper()
	var got v1alpha1.ProviderToken
	Expect(w.Server.Client.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
	edited := got.DeepCopy()
	change(edited)
	Expect(w.Server.Client.Patch(ctx, edited, client.MergeFrom(&got))).To(Succeed())
}

// Ready waits until pt says so, for this generation.
func (w *World) Ready(ctx context.Context, pt *v1alpha1.ProviderToken) *v1alpha1.ProviderToken {
	GinkgoHelper()
	return w.Becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// Becomes waits for a condition.
func (w *World) Becomes(ctx context.Context, pt *v1alpha1.ProviderToken, kind string, status metav1.ConditionStatus, reason string) *v1alpha1.ProviderToken {
	GinkgoHelper()
	got := &v1alpha1.ProviderToken{}
	Eventually(func(g Gomega) {
		g.Expect(w.Server.Client.Get(ctx, client.ObjectKeyFromObject(pt), got)).To(Succeed())
		c := meta.FindStatusCondition(got.Status.Conditions, kind)
		g.Expect(c).NotTo(BeNil())
		g.Expect([]string{string(c.Status), c.Reason}).To(Equal([]string{string(status), reason}), c.Message)
		g.Expect(c.ObservedGeneration).To(Equal(got.Generation))
	}).WithPolling(20 * time.Millisecond).Should(Succeed())
	return got
}

// Condition of pt as it is now.
func (w *World) Condition(ctx context.Context, pt *v1alpha1.ProviderToken, kind string) *metav1.Condition {
	GinkgoHelper()
	var got v1alpha1.ProviderToken
	Expect(w.Server.Client.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
	return meta.FindStatusCondition(got.Status.Conditions, kind)
}

// Secret is the target as it is now; nil when absent.
func (w *World) Secret(ctx context.Context, pt *v1alpha1.ProviderToken) *corev1.Secret {
	var s corev1.Secret
	if err := w.Server.Client.Get(ctx, client.ObjectKey{Namespace: pt.Namespace, Name: pt.TargetName()}, &s); err != nil {
		return nil
	}
	return &s
}

// Token in the target as it is now.
func (w *World) Token(ctx context.Context, pt *v1alpha1.ProviderToken) string {
	if s := w.Secret(ctx, pt); s != nil {
		return string(s.Data["token"])
	}
	return ""
}

// StepToRefresh moves the clock to the planned refresh and waits for another token.
func (w *World) StepToRefresh(ctx context.Context, pt *v1alpha1.ProviderToken) {
	GinkgoHelper()
	w.Settle(ctx, pt) // or status may tell of the token before
	old := w.Token(ctx, pt)
	got := w.Ready(ctx, pt)
	w.Clock.SetTime(got.Status.RefreshAt.Time)
	Eventually(func() string { return w.Token(ctx, pt) }).WithPolling(20 * time.Millisecond).
		ShouldNot(Or(Equal(old), BeEmpty()))
}

// Settle waits until the operator has nothing left to do: status tells of the
// token that the target holds.
func (w *World) Settle(ctx context.Context, pt *v1alpha1.ProviderToken) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var got v1alpha1.ProviderToken
		g.Expect(w.Server.Client.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
		s := w.Secret(ctx, pt)
		g.Expect(s).NotTo(BeNil())
		g.Expect(got.Status.Token).NotTo(BeNil())
		g.Expect(got.Status.Token.IssuedAt.UTC().Format(time.RFC3339)).To(Equal(s.Annotations[v1alpha1.IssuedAtAnnotation]))
	}).WithPolling(20 * time.Millisecond).Should(Succeed())
}

// StaysFor asserts that v stays what it is for a while of real time.
func StaysFor[T any](d time.Duration, v func() T, expected any) {
	GinkgoHelper()
	Consistently(v).WithTimeout(d).WithPolling(20 * time.Millisecond).Should(Equal(expected))
}

// Waiting is how many exchanges of the operator that started last wait for their turn.
func (w *World) Waiting() int {
	GinkgoHelper()
	families, err := w.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	n := 0.0
	for _, f := range families {
		if f.GetName() == "providertoken_exchanges_waiting" {
			for _, m := range f.GetMetric() {
				n += m.GetGauge().GetValue()
			}
		}
	}
	return int(n)
}
