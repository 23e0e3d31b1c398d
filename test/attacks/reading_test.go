package attacks_test

import (
	"fmt"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

const treasure = "treasure-4b1d8c" // what the tenant is after

// obliging answers what a token endpoint would, so that whoever gets through is seen to.
func obliging(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"access_token":"from-the-trap","expires_in":3600}`))
}

var _ = Describe("a tenant who may edit ProviderTokens and nothing else", func() {
	It("has no other right to read a Secret, to have a token of a ServiceAccount or to write a status", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		secret(ctx, w.Namespace, "login", "UP42", "", map[string]string{"password": treasure})
		Expect(apierrors.IsForbidden(tenant.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: "login"}, &corev1.Secret{}))).To(BeTrue())
		Expect(apierrors.IsForbidden(tenant.List(ctx, &corev1.SecretList{}, client.InNamespace(w.Namespace)))).To(BeTrue())
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "reports"}}
		Expect(server.Client.Create(ctx, account)).To(Succeed())
		Expect(apierrors.IsForbidden(tenant.SubResource("token").Create(ctx, account, &authv1.TokenRequest{}))).To(BeTrue())
		Expect(apierrors.IsForbidden(tenant.Create(ctx, &v1alpha1.ClusterTokenProvider{
			ObjectMeta: metav1.ObjectMeta{Name: w.Cluster("own")},
			Spec:       v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{TokenURL: "https://a.example"}},
		}))).To(BeTrue())

		pt, err := ask(ctx, tenant, w.Namespace, "own", "providerRef: {name: UP42}\ncredentials: {secretName: login}")
		Expect(err).NotTo(HaveOccurred())
		forged := pt.DeepCopy()
		forged.Status.RefreshHandled = "forged"
		Expect(apierrors.IsForbidden(tenant.Status().Patch(ctx, forged, client.MergeFrom(pt)))).To(BeTrue())
	})

	It("does not have a credential sent anywhere but where its Secret lets it go, however the ProviderToken is written", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		other := w.NewNamespace(ctx, nil)
		tenant := newTenant(ctx, w.Namespace)
		lure := setTrap("127.0.0.1:0", obliging)
		seen := &visits{}
		w.Faults = seen.wrap
		began := logs.mark()

		generic := "ClusterTokenProvider." + w.Cluster("generic")
		held := map[string]string{"client_id": "id", "client_secret": treasure, "username": "u", "password": treasure}
		address := lure.Listener.Addr().String()
		secret(ctx, w.Namespace, "builtin", "UP42", "", held)
		secret(ctx, w.Namespace, "builtin-here", "UP42", address, held)
		secret(ctx, w.Namespace, "cluster", generic, "", held)
		secret(ctx, w.Namespace, "cluster-here", generic, address, held)
		secret(ctx, w.Namespace, "unbound", "", address, held)
		secret(ctx, w.Namespace, "elsewhere", "ProviderToken.elsewhere", "sso.example.com, "+w.Sim.Generic.Address(), held)
		secret(ctx, w.Namespace, "mine", "TokenProvider.trap", address, map[string]string{"client_id": "own"})
		secret(ctx, other, "foreign", "TokenProvider.trap", address, held)

		definition := fmt.Sprintf("tokenURL: %s/t\ncaBundle: %q", lure.URL, lure.bundle())
		for name, over := range map[string]string{
			"trap":               "",
			"up42":               "base: UP42\n",
			w.Cluster("generic"): "",
			"based":              "base: UP42\nparameters: {region: sa}\n",
		} {
			tp := &v1alpha1.TokenProvider{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}
			decode(over+definition, &tp.Spec)
			Expect(tenant.Create(ctx, tp)).To(Succeed(), name)
		}
		inline := "provider:\n  " + strings.ReplaceAll(definition, "\n", "\n  ")
		named := func(name string) string { return "providerRef: {kind: TokenProvider, name: " + name + "}" }
		attempts := map[string]string{
			"inline-builtin":      inline + "\ncredentials: {secretName: builtin}",
			"inline-here":         inline + "\ncredentials: {secretName: builtin-here}",
			"inline-cluster":      inline + "\ncredentials: {secretName: cluster-here}",
			"inline-unbound":      inline + "\ncredentials: {secretName: unbound}",
			"elsewhere":           inline + "\ncredentials: {secretName: elsewhere}",
			"same-name-builtin":   named("up42") + "\ncredentials: {secretName: builtin-here}",
			"same-name-cluster":   named(w.Cluster("generic")) + "\ncredentials: {secretName: cluster-here}",
			"base-override":       named("based") + "\ncredentials: {secretName: builtin-here}",
			"remapped":            named("trap") + "\ncredentials: {secretName: mine, keys: [{name: client_secret, secretName: cluster-here, key: client_secret}]}",
			"remapped-unbound":    named("trap") + "\ncredentials: {keys: [{name: client_id, secretName: mine, key: client_id}, {name: client_secret, secretName: unbound, key: client_secret}]}",
			"other-namespace":     named("trap") + "\ncredentials: {secretName: " + other + "/foreign}",
			"parent-namespace":    named("trap") + "\ncredentials: {secretName: ../../" + other + "/secrets/foreign}",
			"foreign-by-name":     named("trap") + "\ncredentials: {secretName: foreign}",
			"catalog-parameter":   "providerRef: {name: UP42, parameters: {region: 'evil.example'}}\ncredentials: {secretName: builtin}",
			"cluster-parameter":   fmt.Sprintf("providerRef: {kind: ClusterTokenProvider, name: %s, parameters: {host: evil.example}}\ncredentials: {secretName: cluster}", w.Cluster("generic")),
			"provisioned":         named("trap") + "\ncredentials: {secretName: mine, provision: {secretName: unbound}}",
			"authority-of-secret": "provider: {tokenURL: https://127.0.0.1:" + lure.port() + "/t, caBundleRef: {name: unbound, key: client_secret}}\ncredentials: {secretName: elsewhere}",
		}
		for name, spec := range attempts {
			_, err := ask(ctx, tenant, w.Namespace, name, spec)
			Expect(err).NotTo(HaveOccurred(), name)
		}
		w.Operator()
		for name, said := range settled(ctx, w.Namespace) {
			Expect(said).To(HavePrefix("CredentialsResolved "), name)
		}
		Expect(lure.sprung()).To(BeZero())
		for _, h := range []*providersim.Host{w.Sim.Generic.Host, w.Sim.UP42.Host} {
			Expect(h.Calls()).To(BeEmpty())
		}
		Expect(lines(told(ctx, w, began), treasure)).To(BeEmpty())
		for _, visit := range seen.all() {
			Expect(visit).NotTo(Or(HaveSuffix("secrets/unbound"), HaveSuffix("secrets/foreign"), HaveSuffix("secrets/builtin")), "what is not bound is not even read")
		}
		AddReportEntry("attempts", len(attempts))
	})

	It("is refused by the API what would lead out of its namespace, or make a URL mean two things", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		refused := []string{
			"provider: {tokenURL: 'https://a.example', caBundleRef: {name: ca, namespace: kube-system}}",
			"providerRef: {kind: Secret, name: x}",
			"providerRef: {kind: TokenProvider, name: x, parameters: {host: 'evil.example/path'}}",
			"providerRef: {name: UP42, parameters: {region: 'x@evil.example'}}",
			"providerRef: {name: UP42, parameters: {region: 'x/../..'}}",
			"providerRef: {name: UP42, parameters: {region: 'x?y=z'}}",
			"providerRef: {name: UP42, parameters: {region: \"x\\ny\"}}",
		}
		for _, url := range []string{
			"http://a.example/t", "//a.example/t", "HTTPS:a.example", "https:///t", "https://", "ftp://a.example", "file:///etc/passwd",
			"https://good.example@evil.example/t", "https://user:pw@a.example/t", "https://a.example/t#fragment", "https://{host}/t", "https://a.example/{client_secret}",
			"https://a.example\\@evil.example/t", "https://a.example /t",
		} {
			refused = append(refused, fmt.Sprintf("provider: {tokenURL: %q}", url), fmt.Sprintf("provider: {issuerURL: %q}", url))
		}
		refused = append(refused, "provider: {issuerURL: 'https://a.example/?x=y'}")
		for i, spec := range refused {
			_, err := ask(ctx, tenant, w.Namespace, fmt.Sprintf("refused-%d", i), spec+"\ncredentials: {secretName: login}")
			Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%s: %v", spec, err)
		}
		AddReportEntry("attempts", len(refused))
	})

	It("is not understood by the operator where the API takes a URL that means two things", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		urls := []string{
			"https://a.example./t", "https://a..example/t", "https://-a.example/t", "https://a.example:0/t", "https://a.example:/t", "https://a.example:65536/t", "https://a.example:0443/t",
			"https://[::1%25eth0]/t", "https://[fe80::1%25eth0]:443/t", "https://b\u00fccher.example/t", "https://a.ex\u0430mple/t", "https://a%2eexample/t", "https://a.example%2f@evil.example", "https://a%00.example/t",
			"https://a.example/t?client_secret=x", "https://a.example/t?grant_type=password", "https://a.example/t?x=%zz", "https://a_b.example/t", "https://*.example/t", "https://a.example\u2028/t",
			"https://\u2025.example/t", "https://\u24d0.example/t", "https://a.example\u3002evil.example/t",
		}
		asked := 0
		for i, url := range urls {
			name := fmt.Sprintf("odd-%d", i)
			secret(ctx, w.Namespace, name+"-login", "ProviderToken."+name, strings.Join([]string{"a.example", "a.example.", "evil.example", url}, ","),
				map[string]string{"client_id": "id", "client_secret": treasure})
			_, err := ask(ctx, tenant, w.Namespace, name, fmt.Sprintf("provider: {tokenURL: %q}\ncredentials: {secretName: %s-login}", url, name))
			if err != nil {
				Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%s: %v", url, err)
				continue
			}
			asked++
		}
		w.Operator()
		said := settled(ctx, w.Namespace)
		Expect(said).To(HaveLen(asked))
		for name, verdict := range said {
			Expect(verdict).To(HavePrefix("CredentialsResolved "), name)
			Expect(verdict).NotTo(MatchRegexp(`[^\x20-\x7e§]`), name)
		}
		AddReportEntry("attempts", len(urls))
	})

	It("learns nothing of a Secret that is not for it from what the operator says", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		held := map[string]string{"client_id": "id", "client_secret": treasure}
		secret(ctx, w.Namespace, "there-unbound", "", "", held)
		secret(ctx, w.Namespace, "there-bound-elsewhere", "UP42", "", held)
		secret(ctx, w.Namespace, "there-for-another", "ProviderToken.another", "sso.example.com", held)
		secret(ctx, w.Namespace, "there-of-the-cluster", "ClusterTokenProvider."+w.Cluster("generic"), "", held)
		secret(ctx, w.Namespace, "there-empty", "", "", nil)
		probes := []string{"missing", "there-unbound", "there-bound-elsewhere", "there-for-another", "there-of-the-cluster", "there-empty"}
		for _, probe := range probes {
			// One name for all, or the messages would differ by it.
			for kind, spec := range map[string]string{
				"whole": "credentials: {secretName: SECRET}",
				"key":   "credentials: {keys: [{name: client_id, secretName: SECRET, key: client_id}, {name: client_secret, secretName: SECRET, key: 'client_secret'}]}",
				"none":  "credentials: {keys: [{name: client_id, secretName: SECRET, key: no-such-key}, {name: client_secret, secretName: SECRET, key: 'x#/y'}]}",
			} {
				_, err := ask(ctx, tenant, w.Namespace, kind+"-"+probe, "providerRef: {kind: TokenProvider, name: probe}\n"+strings.ReplaceAll(spec, "SECRET", probe))
				Expect(err).NotTo(HaveOccurred())
			}
		}
		tp := &v1alpha1.TokenProvider{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "probe"}}
		decode("tokenURL: https://sso.example.com/t", &tp.Spec)
		Expect(tenant.Create(ctx, tp)).To(Succeed())
		w.Operator()
		answers := map[string][]string{}
		for name, said := range settled(ctx, w.Namespace) {
			for _, probe := range probes {
				if kind, is := strings.CutSuffix(name, "-"+probe); is && !strings.Contains(kind, "there") {
					said = strings.ReplaceAll(said, probe, "SECRET")
					answers[said] = append(answers[said], name)
				}
			}
		}
		Expect(answers).To(HaveLen(1), "missing, unbound, and bound to somebody else read the same")
	})

	It("cannot have a token or another secret shown as something that is no secret", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		began := logs.mark()
		treasure := "loot-5e1f22c9" // only the provider has it
		w.Sim.Generic.Always(providersim.JSON(200, `{"access_token":"AKIA-`+treasure+`","id_token":"id-`+treasure+`","refresh_token":"r-`+treasure+`",
			"api_key":"`+treasure+`","list":["`+treasure+`","read"],"token_type":"Bearer","scope":"read `+treasure+` `+providersim.GenericClientSecret+`","expires_in":3600}`))
		pointers := map[string]string{
			"scope-token":   "scope: [/access_token]",
			"scope-other":   "scope: [/api_key]",
			"scope-list":    "scope: [/list]",
			"scope-refresh": "scope: [/refresh_token]",
			"scope-plain":   "scope: [/scope]",
			"type-token":    "tokenType: [/access_token]",
			"type-other":    "tokenType: [/api_key]",
			"error":         "error: [/api_key]",
			"error-list":    "error: [/list/0]",
			"expiry":        "expiresAt: [/api_key]",
		}
		for name, pointer := range pointers {
			secret(ctx, w.Namespace, name+"-login", "ProviderToken."+name, w.Sim.Generic.Address(), map[string]string{
				"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret,
			})
			_, err := ask(ctx, tenant, w.Namespace, name, fmt.Sprintf("provider: {tokenURL: %s, caBundle: %q, scopes: [read], response: {%s}}\ncredentials: {secretName: %s-login}",
				w.Sim.Generic.TokenURL(), w.Sim.CABundle(), pointer, name))
			Expect(err).NotTo(HaveOccurred())
		}
		w.Operator()
		settled(ctx, w.Namespace)
		Expect(lines(told(ctx, w, began), treasure, providersim.GenericClientSecret)).To(BeEmpty())
		var plain v1alpha1.ProviderToken
		Expect(tenant.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: "scope-plain"}, &plain)).To(Succeed())
		Expect(plain.Status.Token.Scopes).To(Equal([]string{"read"}), "what was asked for and granted is told")
		AddReportEntry("attempts", len(pointers))
	})
})
