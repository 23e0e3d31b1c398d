package controller

import (
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/providertoken/operator/api/v1alpha1"
)

func TestACredentialSecretWakesAllUsersOfAClusterTokenProviderOnlyWhereThatHoldsIt(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	provider := func(name string, held *v1alpha1.PlatformCredentials) *v1alpha1.ClusterTokenProvider {
		return &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterTokenProviderSpec{Credentials: held}}
	}
	user := func(name, provider string) *v1alpha1.ProviderToken {
		return &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}, Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: provider},
		}}
	}
	r := &Reconciler{
		Log: logr.Discard(), Options: Options{ClusterProviders: true},
		Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(
			provider("open", nil),
			provider("platform", &v1alpha1.PlatformCredentials{
				Namespace: "ops", SecretName: "login", Keys: []v1alpha1.CredentialKey{{Name: "password", SecretName: "password", Key: "p"}},
			}),
		).Build(),
	}
	for _, pt := range []*v1alpha1.ProviderToken{user("a", "open"), user("b", "open"), user("c", "platform"), user("d", "platform")} {
		r.edited().Create(event.CreateEvent{Object: pt})
	}
	for _, c := range []struct {
		about, namespace, name, provider string
		want                             int
	}{
		{"a team's own login for a provider without credentials", "team", "login", "open", 0},
		{"the platform's login", "ops", "login", "platform", 2},
		{"the Secret of a single key of it", "ops", "password", "platform", 2},
		{"another Secret of the platform's namespace", "ops", "other", "platform", 0},
		{"a Secret of that name in another namespace", "team", "login", "platform", 0},
		{"a Secret for a provider that is not there", "ops", "login", "missing", 0},
	} {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: c.name, Labels: map[string]string{
			v1alpha1.CredentialsForLabel: v1alpha1.CredentialsForValue(v1alpha1.ClusterProvider, c.provider),
		}}}
		if got := r.usersOfPlatform(t.Context(), secret); len(got) != c.want {
			t.Errorf("%s wakes %v, want %d", c.about, got, c.want)
		}
	}
}
