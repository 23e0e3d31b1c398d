package privilege_test

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

var _ = Describe("the policy for references to credentials", Ordered, func() {
	const namespace, platform = "creds", "platform"
	var tokens []rbacv1.PolicyRule

	// person is somebody with these rights in a namespace.
	person := func(ctx context.Context, where, name string, rules ...rbacv1.PolicyRule) client.Client {
		GinkgoHelper()
		create(ctx,
			&rbacv1.Role{ObjectMeta: in(where, name, nil), Rules: rules},
			&rbacv1.RoleBinding{
				ObjectMeta: in(where, name, nil),
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
			})
		last := rules[len(rules)-1]
		right := &authorizationv1.ResourceAttributes{Namespace: where, Verb: last.Verbs[0], Group: last.APIGroups[0], Resource: last.Resources[0]}
		if len(last.ResourceNames) > 0 {
			right.Name = last.ResourceNames[0]
		}
		allowed(ctx, name, right)
		return impersonating(name)
	}
	secrets := func(names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}, ResourceNames: names}
	}
	wanted := func(name string, credentials *v1alpha1.Credentials) *v1alpha1.ProviderToken {
		return &v1alpha1.ProviderToken{ObjectMeta: in(namespace, name, nil), Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Name: "UP42"}, Credentials: credentials,
		}}
	}
	login := func(name string) *v1alpha1.Credentials { return &v1alpha1.Credentials{SecretName: name} }
	mapped := func(names ...string) *v1alpha1.Credentials {
		c := &v1alpha1.Credentials{}
		for i, name := range names {
			c.Keys = append(c.Keys, v1alpha1.CredentialKey{Name: v1alpha1.CredentialName(fmt.Sprint("key", i)), SecretName: name, Key: "k"})
		}
		return c
	}
	edit := func(ctx context.Context, c client.Client, name, patch string) error {
		return c.Patch(ctx, &v1alpha1.ProviderToken{ObjectMeta: in(namespace, name, nil)}, merge(patch))
	}
	// refused asserts that the message tells the Secret, and what to do.
	refused := func(err error, secret string) {
		GinkgoHelper()
		Expect(err).To(MatchError(apierrors.IsForbidden, "forbidden"))
		Expect(err).To(MatchError(And(
			ContainSubstring("you may not get the Secret "+secret+","),
			ContainSubstring("let somebody apply this who may, or ask whoever owns the Secret"),
		)))
	}

	BeforeAll(func(ctx SpecContext) {
		newNamespace(ctx, namespace, nil)
		newNamespace(ctx, platform, nil)
		tokens = []rbacv1.PolicyRule{{APIGroups: []string{"providertoken.dev"}, Resources: []string{"providertokens"}, Verbs: []string{"create", "update", "patch", "get", "delete"}}}
		install := overlay(ctx, "resources: [CONFIG/credential-policy]")
		Expect(install).To(HaveLen(2))
		policy := only[admissionv1.ValidatingAdmissionPolicy](install, "ValidatingAdmissionPolicy")
		Expect(policy.Spec.FailurePolicy).To(HaveValue(Equal(admissionv1.Fail)))
		install.apply(ctx)
		DeferCleanup(func(ctx SpecContext) {
			for _, o := range install {
				Expect(k8s.Delete(ctx, o)).To(Succeed())
			}
		})
		// In force a moment after it was written.
		nobody := person(ctx, namespace, "nobody", tokens...)
		Eventually(func() error { return nobody.Create(ctx, wanted("probe", login("probe")), client.DryRunAll) }).
			WithTimeout(patience).WithPolling(polling).Should(MatchError(ContainSubstring("you may not get the Secret")))
	})

	It("lets those who may read the Secrets of the namespace", func(ctx SpecContext) {
		reader := person(ctx, namespace, "reader", append(tokens, secrets())...)
		Expect(reader.Create(ctx, wanted("by-reader", login("any")))).To(Succeed())
		many := make([]string, 16)
		for i := range many {
			many[i] = fmt.Sprint("secret-", i)
		}
		c := mapped(many...)
		c.SecretName, c.Provision = "first", &v1alpha1.Provision{SecretName: "made"}
		Expect(reader.Create(ctx, wanted("all-that-fit", c))).To(Succeed())
	})

	It("refuses those who may not, also for a Secret that does not exist", func(ctx SpecContext) {
		writer := person(ctx, namespace, "writer", tokens...)
		create(ctx, &corev1.Secret{ObjectMeta: in(namespace, "there", nil)})
		there := writer.Create(ctx, wanted("by-writer", login("there")))
		missing := writer.Create(ctx, wanted("by-writer", login("gone")))
		refused(there, "creds/there")
		refused(missing, "creds/gone")
		Expect(strings.ReplaceAll(there.Error(), "there", "gone")).To(Equal(missing.Error()), "nobody can probe for Secrets")
	})

	It("goes by the single Secret where rights name it", func(ctx SpecContext) {
		named := person(ctx, namespace, "named", append(tokens, secrets("mine", "mine-too"))...)
		Expect(named.Create(ctx, wanted("by-named", login("mine")))).To(Succeed())
		refused(named.Create(ctx, wanted("other", login("theirs"))), "creds/theirs")
		refused(named.Create(ctx, wanted("remapped", mapped("mine", "theirs"))), "creds/theirs")
		refused(named.Create(ctx, wanted("remapped", mapped("mine", "mine-too", "mine", "theirs"))), "creds/theirs")
		Expect(named.Create(ctx, wanted("remapped", mapped("mine", "mine-too", "mine", "mine-too", "mine")))).To(Succeed())
		made := login("mine")
		made.Provision = &v1alpha1.Provision{SecretName: "theirs"}
		refused(named.Create(ctx, wanted("provisioned", made)), "creds/theirs")
		refused(edit(ctx, named, "by-named", `{"spec":{"credentials":{"secretName":"theirs"}}}`), "creds/theirs")
		refused(edit(ctx, named, "by-named", `{"spec":{"credentials":{"keys":[{"name":"password","secretName":"theirs","key":"k"}]}}}`), "creds/theirs")
		Expect(edit(ctx, named, "by-named", `{"spec":{"credentials":{"secretName":"mine-too"}}}`)).To(Succeed())
	})

	It("checks each of eight Secrets, and says what to do with more", func(ctx SpecContext) {
		names := []string{"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"}
		for missing := range 8 {
			var held []string
			for i, name := range names {
				if i != missing {
					held = append(held, name)
				}
			}
			c := person(ctx, namespace, fmt.Sprint("all-but-", missing), append(tokens, secrets(held...))...)
			refused(c.Create(ctx, wanted("eight", mapped(names[:8]...)), client.DryRunAll), fmt.Sprint("creds/s", missing))
		}
		all := person(ctx, namespace, "all", append(tokens, secrets(names...))...)
		Expect(all.Create(ctx, wanted("eight", mapped(names[:8]...)))).To(Succeed())
		Expect(all.Create(ctx, wanted("nine", mapped(names...)))).To(MatchError(ContainSubstring("refer to them in several steps")))
		Expect(edit(ctx, all, "eight", `{"spec":{"credentials":{"secretName":"s8"}}}`)).To(Succeed(), "the ninth alone")
	})

	It("lets everybody edit what does not change the references", func(ctx SpecContext) {
		create(ctx, wanted("settled", &v1alpha1.Credentials{SecretName: "a", Keys: []v1alpha1.CredentialKey{{Name: "password", SecretName: "b", Key: "k"}}}))
		editor := person(ctx, namespace, "editor", tokens...)
		for _, patch := range []string{
			`{"metadata":{"labels":{"team":"x"}}}`,
			`{"metadata":{"annotations":{"providertoken.dev/refresh-requested-at":"now"}}}`,
			`{"metadata":{"finalizers":["example.com/keep"]}}`,
			`{"metadata":{"finalizers":null}}`,
			`{"spec":{"suspend":true}}`,
			`{"spec":{"credentials":{"keys":[{"name":"username","secretName":"a","key":"k"},{"name":"password","secretName":"b","key":"other"}]}}}`,
			`{"spec":{"credentials":{"keys":null}}}`,
		} {
			Expect(edit(ctx, editor, "settled", patch)).To(Succeed(), patch)
		}
		refused(edit(ctx, editor, "settled", `{"spec":{"credentials":{"keys":[{"name":"password","secretName":"b","key":"k"}]}}}`), "creds/b")
		Expect(editor.Delete(ctx, wanted("settled", nil))).To(Succeed())
	})

	It("does not concern the operator's status, nor tokens without stored credentials", func(ctx SpecContext) {
		create(ctx, wanted("reported", login("a")))
		status := person(ctx, namespace, "status", rbacv1.PolicyRule{APIGroups: []string{"providertoken.dev"}, Resources: []string{"providertokens/status"}, Verbs: []string{"patch"}},
			rbacv1.PolicyRule{APIGroups: []string{"providertoken.dev"}, Resources: []string{"providertokens"}, Verbs: []string{"get"}})
		Expect(status.Status().Patch(ctx, &v1alpha1.ProviderToken{ObjectMeta: in(namespace, "reported", nil)}, merge(`{"status":{"observedGeneration":1}}`))).To(Succeed())
		writer := impersonating("writer")
		held := wanted("platform-held", nil)
		held.Spec.ProviderRef = &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: "corp"}
		Expect(writer.Create(ctx, held)).To(Succeed())
		Expect(writer.Create(ctx, wanted("identity", &v1alpha1.Credentials{ServiceAccount: &v1alpha1.ServiceAccountCredentials{Name: "app"}}))).To(Succeed())
	})

	It("asks about a platform's credentials where they lie", func(ctx SpecContext) {
		create(ctx, &rbacv1.ClusterRole{ObjectMeta: in("", "definer", nil), Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"providertoken.dev"}, Resources: []string{"clustertokenproviders"}, Verbs: []string{"create", "patch", "get"}},
		}}, &rbacv1.ClusterRoleBinding{
			ObjectMeta: in("", "definer", nil),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "definer"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "definer"}},
		})
		allowed(ctx, "definer", &authorizationv1.ResourceAttributes{Verb: "create", Group: "providertoken.dev", Resource: "clustertokenproviders"})
		definer := person(ctx, platform, "definer", secrets("sso"))
		held := func(where, name string) *v1alpha1.ClusterTokenProvider {
			return &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: "held"}, Spec: v1alpha1.ClusterTokenProviderSpec{
				ProviderDefinition: v1alpha1.ProviderDefinition{Base: "PlantPredict"},
				Credentials:        &v1alpha1.PlatformCredentials{Namespace: where, SecretName: name},
				Allow:              &v1alpha1.Allow{Namespaces: v1alpha1.AllowedNamespaces{Names: []string{"app"}}},
			}}
		}
		refused(definer.Create(ctx, held(platform, "other")), "platform/other")
		refused(definer.Create(ctx, held(namespace, "sso")), "creds/sso")
		p := held(platform, "sso")
		Expect(definer.Create(ctx, p)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, p)).To(Succeed()) })
		refused(definer.Patch(ctx, held(platform, "sso"), merge(`{"spec":{"credentials":{"namespace":"creds"}}}`)), "creds/sso")
		Expect(definer.Patch(ctx, held(platform, "sso"), merge(`{"spec":{"allow":{"namespaces":{"names":["app","web"]}}}}`))).To(Succeed())
		open := held("", "")
		open.Name, open.Spec.Credentials, open.Spec.Allow = "open", nil, nil
		Expect(definer.Create(ctx, open)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, open)).To(Succeed()) })
	})

	It("asks a GitOps tool about itself", func(ctx SpecContext) {
		argo := person(ctx, namespace, "argocd", rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}})
		Expect(argo.Create(ctx, wanted("from-git", login("any")))).To(Succeed())
	})

	It("lets nobody bind a Secret by its label who cannot read it anyway", func(ctx SpecContext) {
		create(ctx, &corev1.Secret{ObjectMeta: in(namespace, "unbound", nil), StringData: map[string]string{"password": "s3cr3t"}})
		labeller := person(ctx, namespace, "labeller", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"patch"}})
		s := &corev1.Secret{ObjectMeta: in(namespace, "unbound", nil)}
		Expect(labeller.Patch(ctx, s, merge(`{"metadata":{"labels":{"providertoken.dev/credentials-for":"UP42"}}}`))).To(Succeed())
		Expect(s.Data).To(HaveKeyWithValue("password", []byte("s3cr3t")), "the API server answers a patch with the whole object")
	})
})

// impersonating is a client of a person of that name.
func impersonating(name string) client.Client {
	GinkgoHelper()
	cfg := rest.CopyConfig(server.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: name, Groups: []string{"system:authenticated"}}
	c, err := client.New(cfg, client.Options{Scheme: server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}
