package controller_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/propagation"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("propagation into pods", func() {
	var (
		w  *world
		pt *v1alpha1.ProviderToken
	)

	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx)
		w.Propagation = true
	})

	// issued starts the operator and waits for the first token, and then sets the
	// clock so far forward that pods which start now mounted it.
	issued := func(ctx SpecContext) {
		GinkgoHelper()
		w.Operator()
		pt = w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Clock.Step(2 * time.Minute)
	}

	It("tells exactly the running pods that ask for it and mount the target", func(ctx SpecContext) {
		issued(ctx)
		plain := w.pod(ctx, "plain", map[string]string{v1alpha1.MountsLabel: "plantpredict"}, mounting("plantpredict"))
		all := w.pod(ctx, "all", map[string]string{v1alpha1.MountsLabel: ""}, projecting("plantpredict", "another"))
		silent := w.pod(ctx, "silent", nil, mounting("plantpredict"))
		ended := w.pod(ctx, "ended", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		w.podStatus(ctx, ended, corev1.PodStatus{Phase: corev1.PodSucceeded, StartTime: &metav1.Time{Time: w.Clock.Now()}})
		waiting := w.pod(ctx, "waiting", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		w.podStatus(ctx, waiting, corev1.PodStatus{Phase: corev1.PodPending})
		other := w.pod(ctx, "other", map[string]string{v1alpha1.MountsLabel: "another"}, mounting("plantpredict"))

		w.StepToRefresh(ctx, pt)
		version := w.Secret(ctx, pt).ResourceVersion
		Eventually(w.told).WithArguments(ctx, plain).Should(Equal("plantpredict=" + version))
		Eventually(w.told).WithArguments(ctx, all).Should(Equal("plantpredict=" + version))
		w.toldStatus(ctx, pt, 2)
		for _, p := range []*corev1.Pod{silent, ended, waiting, other} {
			Expect(w.told(ctx, p)).To(BeEmpty(), p.Name)
		}

		By("changing nothing else of them")
		var got corev1.Pod
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(plain), &got)).To(Succeed())
		Expect(got.Generation).To(Equal(plain.Generation))
		Expect(got.Spec).To(Equal(plain.Spec))
		Expect(got.Labels).To(Equal(plain.Labels))
	})

	It("tells each pod once, and nobody again after a restart", func(ctx SpecContext) {
		stop := w.Operator()
		pt = w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Clock.Step(2 * time.Minute)
		p := w.pod(ctx, "viewer", map[string]string{v1alpha1.MountsLabel: "plantpredict"}, mounting("plantpredict"))
		w.StepToRefresh(ctx, pt)
		w.toldStatus(ctx, pt, 1)
		before := w.told(ctx, p)
		Expect(before).NotTo(BeEmpty())
		stop()

		patched := w.Sent()["PATCH pods"]
		Expect(patched).To(Equal(1))
		w.Operator()
		testworld.StaysFor(300*time.Millisecond, func() bool { return w.current(ctx, pt).Status.Propagation != nil }, true)
		w.StepToRefresh(ctx, pt)
		Eventually(w.told).WithArguments(ctx, p).ShouldNot(Equal(before))
		Expect(w.Sent()["PATCH pods"]).To(Equal(2))
	})

	It("costs two writes more for a refresh, one for the pod and one for the status, and no read", func(ctx SpecContext) {
		issued(ctx)
		w.pod(ctx, "viewer", map[string]string{v1alpha1.MountsLabel: "plantpredict"}, mounting("plantpredict"))
		w.StepToRefresh(ctx, pt)
		w.toldStatus(ctx, pt, 1)
		before := w.Sent()
		for range 3 {
			told := w.current(ctx, pt).Status.Propagation.ToldAt
			w.StepToRefresh(ctx, pt)
			Eventually(func() bool { return w.current(ctx, pt).Status.Propagation.ToldAt.After(told.Time) }).
				WithPolling(20 * time.Millisecond).Should(BeTrue())
		}
		w.Settle(ctx, pt)
		cost := w.Sent().Since(before)
		// A pod that is told at once is told of in the same status as the token.
		Expect(cost["PATCH providertokens"]).To(BeNumerically("~", 4.5, 1.5))
		delete(cost, "PATCH providertokens")
		Expect(cost).To(Equal(testworld.Requests{"PUT secrets": 3, "PATCH pods": 3}))
	})

	It("tells of a repair, which changes the file too", func(ctx SpecContext) {
		issued(ctx)
		p := w.pod(ctx, "viewer", map[string]string{v1alpha1.MountsLabel: "plantpredict"}, mounting("plantpredict"))
		s := w.Secret(ctx, pt)
		s.Data["token"] = []byte("mistake")
		Expect(k8s.Update(ctx, s)).To(Succeed())
		Eventually(func(g Gomega) {
			repaired := w.Secret(ctx, pt)
			g.Expect(string(repaired.Data["token"])).NotTo(Equal("mistake"))
			g.Expect(w.told(ctx, p)).To(Equal("plantpredict=" + repaired.ResourceVersion))
		}).WithPolling(20 * time.Millisecond).Should(Succeed())
	})

	It("tells a pod that began while the token was being replaced, and not one that began after", func(ctx SpecContext) {
		issued(ctx)
		early := w.pod(ctx, "early", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		w.StepToRefresh(ctx, pt)
		w.toldStatus(ctx, pt, 1)
		w.Clock.Step(2 * time.Minute)
		late := w.pod(ctx, "late", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		racing := w.pod(ctx, "racing", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		w.podStatus(ctx, racing, corev1.PodStatus{Phase: corev1.PodPending, StartTime: &metav1.Time{Time: w.Clock.Now().Add(-2 * time.Minute)}})

		Eventually(w.told).WithArguments(ctx, racing).Should(Equal(w.told(ctx, early)))
		Expect(w.told(ctx, late)).To(BeEmpty())
	})

	It("tells, after a restart, a pod that may have begun before the token was written", func(ctx SpecContext) {
		stop := w.Operator()
		pt = w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		stop()
		early := w.pod(ctx, "early", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		w.Clock.Step(2 * time.Minute)
		late := w.pod(ctx, "late", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		w.Operator()
		Eventually(w.told).WithArguments(ctx, early).Should(Equal("plantpredict=" + w.Secret(ctx, pt).ResourceVersion))
		Expect(w.told(ctx, late)).To(BeEmpty())
	})

	It("keeps to its rate, and tells the rest when there is room again", func(ctx SpecContext) {
		issued(ctx)
		// Four a second in all, two of them in one namespace, twice that at once.
		for i := range 10 {
			w.pod(ctx, fmt.Sprint("viewer-", i), map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		}
		w.StepToRefresh(ctx, pt)
		Eventually(w.toldPods).WithArguments(ctx).Should(Equal(4))
		for told := 6; told <= 10; told += 2 {
			testworld.StaysFor(300*time.Millisecond, func() int { return w.toldPods(ctx) }, told-2)
			w.Clock.Step(time.Second)
			Eventually(w.toldPods).WithArguments(ctx).Should(Equal(told))
		}
		w.toldStatus(ctx, pt, 10)
	})

	It("tells the others when one cannot be told", func(ctx SpecContext) {
		issued(ctx)
		stubborn := w.pod(ctx, "a-stubborn", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		w.refusePatch(ctx, stubborn)
		willing := w.pod(ctx, "b-willing", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		for range 2 {
			w.StepToRefresh(ctx, pt)
			Eventually(w.told).WithArguments(ctx, willing).Should(Equal("plantpredict=" + w.Secret(ctx, pt).ResourceVersion))
		}
		Expect(w.told(ctx, stubborn)).To(BeEmpty())
		Eventually(func() []string { return w.notes(ctx, v1alpha1.ReasonPropagationFailed) }).
			Should(ConsistOf(And(ContainSubstring(`Pod "a-stubborn"`), ContainSubstring("no admission policy"))))
	})

	It("hints at pods that read the token in a way that never changes, once a workload", func(ctx SpecContext) {
		issued(ctx)
		environment := func(p *corev1.Pod) {
			p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "plantpredict"}}}}
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "rs", UID: "1", Controller: new(true)}}
		}
		w.pod(ctx, "environment-1", map[string]string{v1alpha1.MountsLabel: "plantpredict"}, environment)
		w.pod(ctx, "environment-2", map[string]string{v1alpha1.MountsLabel: "plantpredict"}, environment)
		w.pod(ctx, "part", map[string]string{v1alpha1.MountsLabel: "plantpredict"}, mounting("plantpredict"), func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts[0].SubPath = "token"
		})
		w.pod(ctx, "none", map[string]string{v1alpha1.MountsLabel: "plantpredict"})
		w.pod(ctx, "right", map[string]string{v1alpha1.MountsLabel: "plantpredict"}, mounting("plantpredict"))

		Eventually(w.hints).WithArguments(ctx).Should(ConsistOf(
			ContainSubstring("reads it by environment variables, which never change"),
			And(ContainSubstring(`Pod "part"`), ContainSubstring("reads it by a subPath mount")),
			And(ContainSubstring(`Pod "none"`), ContainSubstring("does not mount it at all")),
		))
	})

	It("leaves pods to the operator whose shard their token is in", func(ctx SpecContext) {
		w.Propagation = false
		stop := w.Operator()
		pt = w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Clock.Step(2 * time.Minute)
		w.Propagation = true
		w.Shard = labels.SelectorFromSet(labels.Set{"shard": "b"})
		w.Operator()
		p := w.pod(ctx, "viewer", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		w.StepToRefresh(ctx, pt)
		testworld.StaysFor(300*time.Millisecond, func() string { return w.told(ctx, p) }, "")

		By("telling them once the token is in its own")
		w.Settle(ctx, pt)
		stop()
		w.Edit(ctx, pt, func(pt *v1alpha1.ProviderToken) { pt.Labels = map[string]string{"shard": "b"} })
		w.StepToRefresh(ctx, pt)
		Eventually(w.told).WithArguments(ctx, p).Should(Equal("plantpredict=" + w.Secret(ctx, pt).ResourceVersion))
	})

	It("does not concern pods unless it is switched on", func(ctx SpecContext) {
		w.Propagation = false
		issued(ctx)
		p := w.pod(ctx, "viewer", map[string]string{v1alpha1.MountsLabel: ""}, mounting("plantpredict"))
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		Expect(w.told(ctx, p)).To(BeEmpty())
		Expect(w.current(ctx, pt).Status.Propagation).To(BeNil())
		for request := range w.Sent() {
			Expect(request).NotTo(HaveSuffix(" pods"))
		}
	})
})

var _ = Describe("the policy for propagation", Ordered, func() {
	var (
		w        *world
		pod      *corev1.Pod
		operator client.Client
	)

	as := func(user string, groups ...string) client.Client {
		GinkgoHelper()
		cfg := rest.CopyConfig(apiServer)
		cfg.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: append(groups, "system:authenticated")}
		c, err := client.New(cfg, client.Options{Scheme: server.Scheme})
		Expect(err).NotTo(HaveOccurred())
		return c
	}
	patch := func(ctx context.Context, c client.Client, sub, body string) error {
		target := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
		if sub == "" {
			return c.Patch(ctx, target, client.RawPatch(types.MergePatchType, []byte(body)))
		}
		return c.SubResource(sub).Patch(ctx, target, client.RawPatch(types.MergePatchType, []byte(body)))
	}

	BeforeAll(func(ctx SpecContext) {
		w = newWorld(ctx)
		pod = w.pod(ctx, "viewer", map[string]string{v1alpha1.MountsLabel: "", "app": "viewer"}, mounting("up42"), func(p *corev1.Pod) {
			p.Annotations = map[string]string{"note": "x"}
			p.Finalizers = []string{"example.com/keep"}
		})
		DeferCleanup(func(ctx SpecContext) {
			Expect(patch(ctx, k8s, "", `{"metadata":{"finalizers":null}}`)).To(Succeed())
		})
		w.shipped(ctx, "default", "propagation")
		operator = as("system:serviceaccount:providertoken-system:providertoken-manager", "system:serviceaccounts", "system:serviceaccounts:providertoken-system")
		// The policy is in force a moment after it was written. A change that was made
		// before is none the next time.
		tries := 0
		Eventually(func() error {
			tries++
			return patch(ctx, operator, "status", fmt.Sprintf(`{"metadata":{"labels":{"probe":"%d"}}}`, tries))
		}).WithPolling(50 * time.Millisecond).Should(MatchError(apierrors.IsInvalid, "refused by the policy"))
		Expect(patch(ctx, k8s, "status", `{"metadata":{"labels":{"probe":null}}}`)).To(Succeed())
	})

	It("lets the operator write its annotation", func(ctx SpecContext) {
		Expect(patch(ctx, operator, "status", `{"metadata":{"annotations":{"providertoken.dev/told":"up42=12,b.c=3"}}}`)).To(Succeed())
		Expect(w.told(ctx, pod)).To(Equal("up42=12,b.c=3"))
	})

	DescribeTable("refuses the operator everything else", func(ctx SpecContext, body, message string) {
		err := patch(ctx, operator, "status", body)
		Expect(err).To(MatchError(ContainSubstring(message)))
	},
		Entry("another annotation", `{"metadata":{"annotations":{"note":"y"}}}`, "no annotation of pods but"),
		Entry("a new annotation", `{"metadata":{"annotations":{"new":"y"}}}`, "no annotation of pods but"),
		Entry("an annotation's removal", `{"metadata":{"annotations":{"note":null}}}`, "no annotation of pods but"),
		Entry("free text in its annotation", `{"metadata":{"annotations":{"providertoken.dev/told":"eyJhbGciOi"}}}`, "names and resource versions"),
		Entry("a label", `{"metadata":{"labels":{"app":"other"}}}`, "no labels of pods"),
		Entry("a finalizer", `{"metadata":{"finalizers":["example.com/keep","example.com/more"]}}`, "no finalizers of pods"),
		Entry("the status", `{"status":{"phase":"Failed"}}`, "no status of pods"),
		Entry("a pod's address", `{"status":{"podIP":"10.0.0.9"}}`, "no status of pods"),
	)

	It("refuses the operator pods that did not ask", func(ctx SpecContext) {
		Expect(patch(ctx, k8s, "", `{"metadata":{"labels":{"providertoken.dev/mounts":null}}}`)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) {
			Expect(patch(ctx, k8s, "", `{"metadata":{"labels":{"providertoken.dev/mounts":""}}}`)).To(Succeed())
		})
		Expect(patch(ctx, operator, "status", `{"metadata":{"annotations":{"providertoken.dev/told":"up42=13"}}}`)).
			To(MatchError(ContainSubstring("with the label providertoken.dev/mounts only")))
	})

	It("leaves the operator no way to a pod's spec", func(ctx SpecContext) {
		Expect(patch(ctx, operator, "", `{"metadata":{"annotations":{"providertoken.dev/told":"up42=14"}}}`)).To(MatchError(apierrors.IsForbidden, "not allowed"))
		Expect(patch(ctx, operator, "status", `{"spec":{"activeDeadlineSeconds":1}}`)).To(Succeed(), "ignored by the API server")
		var got corev1.Pod
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pod), &got)).To(Succeed())
		Expect(got.Spec.ActiveDeadlineSeconds).To(BeNil())
	})

	It("is needed together with the rights, which the operator checks before it begins", func(ctx SpecContext) {
		Expect(propagation.Allowed(ctx, operator, nil)).To(Succeed())
		Expect(propagation.Allowed(ctx, as("system:serviceaccount:"+w.Namespace+":nobody"), nil)).To(MatchError(propagation.ErrNotAllowed))
		w.grant(ctx, "local", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "pods/status"}, Verbs: []string{"list", "watch", "patch"}})
		local := as("system:serviceaccount:" + w.Namespace + ":local")
		Eventually(propagation.Allowed).WithArguments(ctx, local, []string{w.Namespace}).Should(Succeed())
		Expect(propagation.Allowed(ctx, local, []string{w.Namespace, "default"})).To(MatchError(propagation.ErrNotAllowed))
	})

	It("concerns nobody else", func(ctx SpecContext) {
		body := `{"metadata":{"annotations":{"note":"z"}}}`
		Expect(patch(ctx, k8s, "status", body)).To(Succeed(), "an admin")
		w.grant(ctx, "other", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/status"}, Verbs: []string{"patch"}})
		Expect(patch(ctx, as("system:serviceaccount:"+w.Namespace+":other"), "status", body)).To(Succeed(), "another controller")
	})
})

// pod is one that runs since now, made as its label and edits say.
func (w *world) pod(ctx context.Context, name string, labelled map[string]string, edits ...func(*corev1.Pod)) *corev1.Pod {
	GinkgoHelper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name, Labels: labelled},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false), ServiceAccountName: "default", NodeName: "node",
			Containers: []corev1.Container{{Name: "main", Image: "none"}},
		},
	}
	for _, edit := range edits {
		edit(p)
	}
	// There is no controller here that makes it.
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "default"}}
	Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, account))).To(Succeed())
	Expect(k8s.Create(ctx, p)).To(Succeed())
	w.podStatus(ctx, p, corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: w.Clock.Now()}})
	return p
}

// podStatus is what a kubelet would write.
func (w *world) podStatus(ctx context.Context, p *corev1.Pod, status corev1.PodStatus) {
	GinkgoHelper()
	p.Status = status
	Expect(k8s.Status().Update(ctx, p)).To(Succeed())
}

func mounting(secret string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "token", MountPath: "/token"}}
	}
}

func projecting(secrets ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		projected := &corev1.ProjectedVolumeSource{}
		for _, name := range secrets {
			projected.Sources = append(projected.Sources, corev1.VolumeProjection{
				Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Optional: new(true)},
			})
		}
		p.Spec.Volumes = []corev1.Volume{{Name: "tokens", VolumeSource: corev1.VolumeSource{Projected: projected}}}
	}
}

// told is what a pod was told.
func (w *world) told(ctx context.Context, p *corev1.Pod) string {
	var got corev1.Pod
	if err := k8s.Get(ctx, client.ObjectKeyFromObject(p), &got); err != nil {
		return err.Error()
	}
	return got.Annotations[v1alpha1.ToldAnnotation]
}

// toldPods counts the pods that were told anything.
func (w *world) toldPods(ctx context.Context) int {
	var pods corev1.PodList
	if err := k8s.List(ctx, &pods, client.InNamespace(w.Namespace)); err != nil {
		return -1
	}
	n := 0
	for i := range pods.Items {
		if pods.Items[i].Annotations[v1alpha1.ToldAnnotation] != "" {
			n++
		}
	}
	return n
}

// toldStatus waits until status says that so many pods were told.
func (w *world) toldStatus(ctx context.Context, pt *v1alpha1.ProviderToken, pods int) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		got := w.current(ctx, pt).Status.Propagation
		g.Expect(got).NotTo(BeNil())
		g.Expect(got.Pods).To(BeEquivalentTo(pods))
		g.Expect(got.ToldAt.UTC()).To(Equal(w.Clock.Now().UTC().Truncate(time.Second)))
	}).WithPolling(20 * time.Millisecond).Should(Succeed())
}

func (w *world) current(ctx context.Context, pt *v1alpha1.ProviderToken) *v1alpha1.ProviderToken {
	GinkgoHelper()
	var got v1alpha1.ProviderToken
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
	return &got
}

// refusePatch lets the API server refuse every change of a pod's status, as a policy
// of the cluster may.
func (w *world) refusePatch(ctx context.Context, p *corev1.Pod) {
	GinkgoHelper()
	meta := metav1.ObjectMeta{Name: w.Cluster("refuse")}
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Update},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/status"}},
		}}}},
		Validations: []admissionv1.Validation{{Expression: fmt.Sprintf("object.metadata.uid != '%s'", p.UID), Message: "no"}},
	}}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: meta.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	for _, o := range []client.Object{policy, binding} {
		Expect(k8s.Create(ctx, o)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, o)).To(Succeed()) })
	}
	// It is in force a moment later; a change that was made before is none the next time.
	tries := 0
	Eventually(func() error {
		tries++
		body := fmt.Sprintf(`{"metadata":{"annotations":{"tries":"%d"}}}`, tries)
		return k8s.Status().Patch(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}},
			client.RawPatch(types.MergePatchType, []byte(body)))
	}).WithPolling(50 * time.Millisecond).Should(MatchError(apierrors.IsInvalid, "refused by the policy"))
}

// hints are the notes of events about pods that will not see a new token.
func (w *world) hints(ctx context.Context) []string {
	return w.notes(ctx, v1alpha1.ReasonPodReadsOnce)
}

// notes of the events with that reason.
func (w *world) notes(ctx context.Context, reason string) []string {
	var list eventsv1.EventList
	if err := k8s.List(ctx, &list, client.InNamespace(w.Namespace)); err != nil {
		return []string{err.Error()}
	}
	var notes []string
	for i := range list.Items {
		if list.Items[i].Reason == reason {
			notes = append(notes, list.Items[i].Note)
		}
	}
	return notes
}

// grant gives a ServiceAccount of this world rights.
func (w *world) grant(ctx context.Context, account string, rules ...rbacv1.PolicyRule) {
	GinkgoHelper()
	w.grantTo(ctx, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: w.Namespace, Name: account}, rules...)
}

// grantTo gives rights in this world's namespace to whomever.
func (w *world) grantTo(ctx context.Context, who rbacv1.Subject, rules ...rbacv1.PolicyRule) {
	GinkgoHelper()
	meta := metav1.ObjectMeta{Namespace: w.Namespace, Name: who.Name}
	Expect(k8s.Create(ctx, &rbacv1.Role{ObjectMeta: meta, Rules: rules})).To(Succeed())
	Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: who.Name},
		Subjects:   []rbacv1.Subject{who},
	})).To(Succeed())
}

// shipped applies the roles, bindings and policies of an install until the spec ends.
func (w *world) shipped(ctx context.Context, install string, components ...string) {
	GinkgoHelper()
	for _, o := range rendered(ctx, install, components...) {
		switch kind := o.GetKind(); {
		case strings.HasPrefix(kind, "ClusterRole"), strings.HasPrefix(kind, "ValidatingAdmission"):
		default:
			continue
		}
		Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, o))).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, o))).To(Succeed()) })
	}
}

// rendered is what kustomize makes of an install with components beside it.
func rendered(ctx context.Context, install string, components ...string) []*unstructured.Unstructured {
	GinkgoHelper()
	dir := overlay(install, components...)
	out, err := exec.CommandContext(ctx, kubectl(), "kustomize", "--load-restrictor=LoadRestrictionsNone", dir).Output()
	Expect(err).NotTo(HaveOccurred())
	var objects []*unstructured.Unstructured
	for doc := range strings.SplitSeq(string(out), "\n---\n") {
		o := &unstructured.Unstructured{}
		Expect(yaml.Unmarshal([]byte(doc), &o.Object)).To(Succeed())
		objects = append(objects, o)
	}
	return objects
}
