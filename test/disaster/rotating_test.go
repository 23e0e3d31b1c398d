package disaster_test

import (
	"context"
	"encoding/json"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// rotating is the name of a provider whose refresh tokens work once and are the credential.
const rotating = "rotating"

// rotate makes that provider.
func rotate(ctx context.Context, w *testworld.World) {
	GinkgoHelper()
	w.Sim.UP42.RotateRefreshTokens(true)
	w.Sim.UP42.SetRefreshLifetime(9 * time.Hour)
	p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Cluster(rotating)}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{
		TokenURL: w.Sim.UP42.TokenURL(), Grant: v1alpha1.Grant(provider.RefreshToken), ClientAuthentication: "None",
		ClientID: providersim.UP42ClientID, CABundle: w.Sim.CABundle(),
	}}}
	Expect(w.Server.Client.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(w.Server.Client.Delete(ctx, p))).To(Succeed()) })
}

// refreshes is how many times a refresh token was sent.
func refreshes(w *testworld.World) int { return w.Sim.UP42.Count(providersim.KindRefreshToken) }

// stops waits until the operator says that a person is needed, and returns what it says.
func stops(ctx context.Context, w *testworld.World, pt *v1alpha1.ProviderToken, reason string) string {
	GinkgoHelper()
	w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, reason)
	return w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition).Message
}

// reauthorize puts a new refresh token into the credential Secret, as the message asks for.
func reauthorize(ctx context.Context, w *testworld.World, namespace string) {
	GinkgoHelper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: rotating + "-login"}}
	patch, err := json.Marshal(map[string]any{"stringData": map[string]string{"refresh_token": w.Authorize(ctx)}})
	Expect(err).NotTo(HaveOccurred())
	Expect(w.Server.Client.Patch(ctx, s, client.RawPatch("application/merge-patch+json", patch))).To(Succeed())
}
