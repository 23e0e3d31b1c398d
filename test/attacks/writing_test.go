package attacks_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/target"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("a tenant who wants a Secret that is not for tokens", func() {
	generic := func(w *testworld.World) string {
		return fmt.Sprintf("providerRef: {kind: ClusterTokenProvider, name: %s}\ncredentials: {secretName: generic-login}", w.Cluster("generic"))
	}

	It("does not have one written that exists, whoever made it and whatever it says of itself", func(ctx SpecContext) {
		w := testworld.New(ctx, server) // the operator's own namespace, where its records are
		tenant := newTenant(ctx, w.Namespace)
		login := w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		now := w.Clock.Now().UTC()
		make := func(name string, change func(*corev1.Secret)) *corev1.Secret {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name, Labels: map[string]string{}, Annotations: map[string]string{}}, StringData: map[string]string{"password": treasure}}
			change(s)
			Expect(server.Client.Create(ctx, s)).To(Succeed())
			return s
		}
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "robot"}}
		Expect(server.Client.Create(ctx, account)).To(Succeed())
		secrets := []*corev1.Secret{
			login,
			make("plain", func(*corev1.Secret) {}),
			make("of-another", func(s *corev1.Secret) { s.Annotations[v1alpha1.OwnerAnnotation] = w.Namespace + "/another" }),
			make("of-another-namespace", func(s *corev1.Secret) {
				s.Annotations[v1alpha1.OwnerAnnotation] = "elsewhere/take-of-another-namespace"
			}),
			make("of-a-longer-name", func(s *corev1.Secret) {
				s.Annotations[v1alpha1.OwnerAnnotation] = w.Namespace + "/take-of-a-longer-name-too"
			}),
			make("of-an-odd-name", func(s *corev1.Secret) {
				s.Annotations[v1alpha1.OwnerAnnotation] = w.Namespace + "/take-of-an-odd-name "
			}),
			make("described", func(s *corev1.Secret) { // everything that a target has but the owner
				s.Labels[v1alpha1.TargetLabel] = "true"
				s.Annotations[v1alpha1.IssuedAtAnnotation] = now.Format(time.RFC3339)
				s.Annotations[v1alpha1.ExpiresAtAnnotation] = now.Add(time.Hour).Format(time.RFC3339)
				s.StringData["token"] = "x"
			}),
			make("owned", func(s *corev1.Secret) { // a reference is not what ownership goes by
				s.OwnerReferences = []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ProviderToken", Name: "take-owned", UID: types.UID("0b7e6a2e-0000-4000-8000-000000000000")}}
			}),
			make("robots", func(s *corev1.Secret) {
				s.Type = corev1.SecretTypeServiceAccountToken
				s.Annotations[corev1.ServiceAccountNameKey] = "robot"
			}),
			make("immutable", func(s *corev1.Secret) { s.Immutable = new(true) }),
			make("sh.helm.release.v1.app.v1", func(s *corev1.Secret) { s.Type = "helm.sh/release.v1" }),
			make("provisioned", func(s *corev1.Secret) {
				s.Labels[v1alpha1.CredentialsForLabel] = "SpatiaFi"
				s.Annotations["providertoken.dev/provisioned-for"] = w.Namespace + "/take-provisioned"
			}),
		}
		// The operator's own: the key of its login records, and a refresh token's state.
		w.Credentials(ctx, "up42", map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password})
		stop := w.Operator()
		w.Ready(ctx, w.Create(ctx, w.Wanted("up42")))
		stop()
		var all corev1.SecretList
		Expect(server.Client.List(ctx, &all, client.InNamespace(w.Namespace))).To(Succeed())
		own := 0
		for i := range all.Items {
			if strings.HasPrefix(all.Items[i].Name, "providertoken-") {
				secrets, own = append(secrets, &all.Items[i]), own+1
			}
			for _, s := range secrets { // the token controller fills in the robot's
				if s.Name == all.Items[i].Name {
					all.Items[i].DeepCopyInto(s)
				}
			}
		}
		Expect(own).To(BeNumerically(">=", 1), "the operator keeps a key")
		for _, s := range secrets {
			_, err := ask(ctx, tenant, w.Namespace, "take-"+s.Name, generic(w)+"\ntarget: {secretName: "+s.Name+"}")
			Expect(err).NotTo(HaveOccurred(), s.Name)
		}
		w.Operator()
		for name, said := range settled(ctx, w.Namespace) {
			if strings.HasPrefix(name, "take-") {
				Expect(said).To(HavePrefix("SecretPublished TargetConflict"), name)
			}
		}
		unchanged(ctx, secrets...)
		Expect(w.Sim.Generic.Calls()).To(BeEmpty(), "and no token is spent for it")
		AddReportEntry("attempts", len(secrets))
	})

	It("is refused the types, labels and annotations that mean something to others, by the API and by the operator", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		refused := map[string]v1alpha1.SecretTemplate{}
		for _, typ := range []string{
			"kubernetes.io/service-account-token", "kubernetes.io/ssh-auth", "kubernetes.io/tls", "bootstrap.kubernetes.io/token", "node.kubernetes.io/x",
			"cluster.x-k8s.io/secret", "k8s.io/x", "kubernetes.io", "helm.sh/release.v1",
		} {
			refused["type "+typ] = v1alpha1.SecretTemplate{Type: typ}
		}
		for _, key := range []string{
			"kubernetes.io/service-account.name", "kubernetes.io/service-account.uid", "app.kubernetes.io/managed-by", "cluster.x-k8s.io/cluster-name", "auth.k8s.io/x",
			"argocd.argoproj.io/instance", "argocd.argoproj.io/tracking-id", "argocd.argoproj.io/sync-options",
			"providertoken.dev/owner", "providertoken.dev/credentials-for", "providertoken.dev/allowed-hosts", "providertoken.dev/target", "providertoken.dev/expires-at", "x.providertoken.dev/y",
			"reflector.v1.k8s.emberstack.com/reflection-allowed", "reflector.v1.k8s.emberstack.com/reflection-auto-enabled", "reflector.v1.k8s.emberstack.com/reflects",
			"replicator.v1.mittwald.de/replicate-to", "replicator.v1.mittwald.de/replicate-from", "replicator.v1.mittwald.de/replication-allowed", "secret-generator.v1.mittwald.de/autogenerate",
			"kubed.appscode.com/sync", "config-syncer.appscode.com/sync", "reflector.havulv.io/reflect", "replizieren.dev/replicate-all",
			"reconcile.external-secrets.io/managed", "meta.helm.sh/release-name", "helm.sh/resource-policy",
		} {
			refused["label "+key] = v1alpha1.SecretTemplate{Metadata: &v1alpha1.TemplateMetadata{Labels: map[string]v1alpha1.LabelValue{key: "x"}}}
			refused["annotation "+key] = v1alpha1.SecretTemplate{Metadata: &v1alpha1.TemplateMetadata{Annotations: map[string]v1alpha1.MetadataValue{key: "x"}}}
		}
		for _, value := range []v1alpha1.LabelValue{"cluster", "repository-write", "repo-write-creds", "Cluster", ""} {
			refused["Argo CD's "+string(value)] = v1alpha1.SecretTemplate{Metadata: &v1alpha1.TemplateMetadata{Labels: map[string]v1alpha1.LabelValue{"argocd.argoproj.io/secret-type": value}}}
		}
		for what, template := range refused {
			pt := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "marked"}, Spec: w.Wanted("generic").Spec}
			pt.Spec.Target = &v1alpha1.Target{Template: &template}
			Expect(apierrors.IsInvalid(tenant.Create(ctx, pt))).To(BeTrue(), what)
			if !strings.HasPrefix(what, "type kubernetes.io/ssh") && !strings.HasPrefix(what, "type kubernetes.io/tls") {
				Expect(target.Check(pt.Spec.Target)).NotTo(Succeed(), "%s: where an older CRD let it through", what)
			}
		}
		AddReportEntry("attempts", len(refused))
	})

	It("does not turn a target into credentials of another, nor into one of another name or type", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		w.Operator()
		first, err := ask(ctx, tenant, w.Namespace, "first", generic(w)+"\ntarget: {template: {data: {client_id: '{{.token}}', client_secret: '{{.token}}'}}}")
		Expect(err).NotTo(HaveOccurred())
		w.Ready(ctx, first)
		calls := len(w.Sim.Generic.Calls())
		_, err = ask(ctx, tenant, w.Namespace, "second", fmt.Sprintf("providerRef: {kind: ClusterTokenProvider, name: %s}\ncredentials: {secretName: first}", w.Cluster("generic")))
		Expect(err).NotTo(HaveOccurred())
		Expect(settled(ctx, w.Namespace)["second"]).To(HavePrefix("CredentialsResolved WaitingForCredentials"))
		Expect(w.Sim.Generic.Calls()).To(HaveLen(calls))
		for _, patch := range []string{
			`{"spec":{"target":{"secretName":"generic-login"}}}`,
			`{"spec":{"target":{"template":{"type":"example.com/x"}}}}`,
			`{"spec":{"target":{"format":"BasicAuth"}}}`,
		} {
			err := tenant.Patch(ctx, first, client.RawPatch(types.MergePatchType, []byte(patch)))
			Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%s: %v", patch, err)
		}
	})

	It("gets no other Secret deleted with a ProviderToken", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		login := w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		w.Operator()
		pt, err := ask(ctx, tenant, w.Namespace, "take", generic(w)+"\ntarget: {secretName: generic-login, deletionPolicy: Delete}")
		Expect(err).NotTo(HaveOccurred())
		settled(ctx, w.Namespace)
		Expect(tenant.Delete(ctx, pt, client.PropagationPolicy(metav1.DeletePropagationForeground))).To(Succeed())
		unchanged(ctx, login)
		Expect(login.OwnerReferences).To(BeEmpty())
	})
})
