package shards_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// matching is a label selector as people write it.
func matching(selector string) client.MatchingLabelsSelector {
	GinkgoHelper()
	parsed, err := labels.Parse(selector)
	Expect(err).NotTo(HaveOccurred())
	return client.MatchingLabelsSelector{Selector: parsed}
}

// rotating makes a ProviderToken whose credential is a refresh token that works once.
func (w *fleet) rotating(ctx context.Context, shard string) *v1alpha1.ProviderToken {
	GinkgoHelper()
	w.Sim.UP42.RotateRefreshTokens(true)
	p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Cluster("rotating")}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{
		TokenURL: w.Sim.UP42.TokenURL(), Grant: v1alpha1.Grant(provider.RefreshToken), ClientAuthentication: "None",
		ClientID: providersim.UP42ClientID, CABundle: w.Sim.CABundle(),
	}}}
	Expect(w.Server.Client.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(w.Server.Client.Delete(ctx, p))).To(Succeed()) })
	w.Credentials(ctx, "rotating", map[string]string{"refresh_token": w.Authorize(ctx)})
	pt := w.Wanted("rotating")
	pt.Labels = map[string]string{v1alpha1.ShardLabel: shard}
	w.all = append(w.all, w.Create(ctx, pt))
	return pt
}

// writes judges how often the status and the target of pt are written in one more refresh.
func (w *fleet) writes(ctx context.Context, pt *v1alpha1.ProviderToken) string {
	GinkgoHelper()
	before, n := w.Sent(), w.issued()
	w.due(ctx, pt)
	w.becomes(n + 1)
	w.settle(ctx)
	after := w.Sent().Since(before)
	if after["PUT secrets"] == 1 && after["PATCH providertokens"] == 1 {
		return "one a refresh"
	}
	return fmt.Sprint(after)
}

// sizes are a part of docs/benchmarks/costs.json.
type sizes struct {
	TargetBytesBesideTokens float64 `json:"targetBytesBesideTokens"`
	TokenCopies             float64 `json:"tokenCopies"`
	ProviderTokenBytes      float64 `json:"providerTokenBytes"`
	CredentialBytes         float64 `json:"credentialBytes"`
}

// estimated are those that docs/scaling.md computes with.
func estimated() sizes {
	GinkgoHelper()
	data, err := os.ReadFile(filepath.Join(testworld.Root(), "docs", "benchmarks", "costs.json"))
	Expect(err).NotTo(HaveOccurred())
	var costs struct {
		Objects sizes `json:"objects"`
	}
	Expect(json.Unmarshal(data, &costs)).To(Succeed())
	return costs.Objects
}

// stored is the size of an object as etcd stores it: built-in kinds in protobuf, others in JSON.
func stored(ctx context.Context, path, form string) int {
	GinkgoHelper()
	clients, err := kubernetes.NewForConfig(server.Config)
	Expect(err).NotTo(HaveOccurred())
	data, err := clients.RESTClient().Get().AbsPath(path).SetHeader("Accept", form).DoRaw(ctx)
	Expect(err).NotTo(HaveOccurred())
	return len(data)
}
