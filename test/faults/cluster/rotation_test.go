package cluster_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
)

// rotated makes a ProviderToken whose credential is a refresh token that works once.
func (w *faulty) rotated(ctx context.Context) *v1alpha1.ProviderToken {
	GinkgoHelper()
	const rotating = "rotating"
	w.Sim.UP42.RotateRefreshTokens(true)
	w.Sim.UP42.SetRefreshLifetime(9 * time.Hour)
	p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Cluster(rotating)}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{
		TokenURL: w.Sim.UP42.TokenURL(), Grant: v1alpha1.Grant(provider.RefreshToken), ClientAuthentication: "None",
		ClientID: providersim.UP42ClientID, CABundle: w.Sim.CABundle(),
	}}}
	Expect(w.Server.Client.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(w.Server.Client.Delete(ctx, p))).To(Succeed()) })
	w.Credentials(ctx, rotating, map[string]string{"refresh_token": w.Authorize(ctx)})
	return w.Create(ctx, w.Wanted(rotating))
}
