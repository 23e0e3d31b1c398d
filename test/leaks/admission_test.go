package leaks_test

import (
	"context"
	"encoding/base64"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	testworld "github.com/providertoken/operator/test/world"
)

// warnings are what the API server said besides its answers.
type warnings struct {
	mu   sync.Mutex
	said []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *warnings) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.said, "\n")
}

// quoting is a policy that quotes a Secret's token whenever the Secret is changed,
// as one that somebody wrote in a hurry does.
func quoting(ctx context.Context, w *testworld.World, action admissionv1.ValidationAction) {
	GinkgoHelper()
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "quoting-" + w.Namespace},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: new(admissionv1.Fail),
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.Namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
				}}},
			},
			Validations: []admissionv1.Validation{{
				Expression:        "!has(object.data) || !('token' in object.data)",
				MessageExpression: `"do not store this: " + string(object.data['token'])`,
			}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: policy.Name},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: policy.Name, ValidationActions: []admissionv1.ValidationAction{action}},
	}
	for _, o := range []client.Object{policy, binding} {
		Expect(server.Client.Create(ctx, o)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(server.Client.Delete(ctx, o)).To(Succeed()) })
	}

	said := &warnings{}
	cfg := rest.CopyConfig(server.Config)
	cfg.WarningHandler = said
	person, err := client.New(cfg, client.Options{Scheme: server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	bait := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "bait"}, StringData: map[string]string{"token": "a-bait-for-the-policy"}}
	Expect(person.Create(ctx, bait)).To(Succeed())
	Eventually(func() string {
		edited := bait.DeepCopy()
		edited.Labels = map[string]string{"edited": "yes"}
		if err := person.Update(ctx, edited, client.DryRunAll); err != nil {
			return err.Error()
		}
		return said.all()
	}).Should(ContainSubstring(base64.StdEncoding.EncodeToString([]byte("a-bait-for-the-policy"))))
}

var _ = Describe("An admission policy that quotes what it sees", func() {
	It("refuses the new token, and nobody reads it", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		old := w.Token(ctx, pt)
		quoting(ctx, w, admissionv1.Deny)

		got := w.Ready(ctx, pt)
		w.Clock.SetTime(got.Status.RefreshAt.Time)
		refused := w.Becomes(ctx, pt, v1alpha1.SecretPublishedCondition, metav1.ConditionFalse, v1alpha1.ReasonTargetRefused)
		message := meta.FindStatusCondition(refused.Status.Conditions, v1alpha1.SecretPublishedCondition).Message
		Expect(message).To(ContainSubstring("refused"))
		Expect(message).NotTo(ContainSubstring("do not store this"))
		Expect(w.Token(ctx, pt)).To(Equal(old))
	})

	It("warns of the new token, and nobody reads it", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		w.Operator()
		pt := w.PlantPredict(ctx)
		w.Ready(ctx, pt)
		quoting(ctx, w, admissionv1.Warn)
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
	})
})
