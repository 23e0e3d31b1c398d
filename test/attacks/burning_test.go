package attacks_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// burst is how often a ProviderToken may have its provider asked out of turn at once.
const burst = 8

var _ = Describe("a tenant who wants to burn what others need", func() {
	// looked waits until the operator has judged what pt is now.
	looked := func(ctx SpecContext, pt *v1alpha1.ProviderToken, asked string) {
		GinkgoHelper()
		Eventually(func(g Gomega) {
			var got v1alpha1.ProviderToken
			g.Expect(server.Client.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
			g.Expect(got.Status.ObservedGeneration).To(Equal(got.Generation))
			c := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.TokenIssuedCondition)
			g.Expect(c).NotTo(BeNil())
			if c.Status == metav1.ConditionTrue {
				g.Expect(got.Status.RefreshHandled).To(Equal(asked))
				g.Expect(meta.IsStatusConditionTrue(got.Status.Conditions, v1alpha1.ReadyCondition)).To(BeTrue())
				return
			}
			g.Expect(c.Reason).To(Equal(v1alpha1.ReasonThrottled), c.Message)
		}).WithPolling(5 * time.Millisecond).Should(Succeed())
	}

	DescribeTable("has the provider asked a few times at once, and then once in half a minute, by",
		func(ctx SpecContext, change func(pt *v1alpha1.ProviderToken, n int) (request string)) {
			w := testworld.New(ctx, server)
			w.Operator()
			w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
			var scopes []string
			for n := range 40 {
				scopes = append(scopes, fmt.Sprint("s", n))
			}
			w.Sim.Generic.AllowScopes(scopes...)
			pt := w.Create(ctx, w.Wanted("generic"))
			w.Ready(ctx, pt)
			for n := range 40 {
				var request string
				w.Edit(ctx, pt, func(p *v1alpha1.ProviderToken) { request = change(p, n) })
				looked(ctx, pt, request)
			}
			Expect(w.Sim.Generic.Issued()).To(Equal(1 + burst))
			c := w.Condition(ctx, pt, v1alpha1.TokenIssuedCondition)
			Expect(c.Message).To(And(ContainSubstring("out of turn"), ContainSubstring(w.Clock.Now().Add(30*time.Second).UTC().Format(time.RFC3339))))

			w.Clock.Step(30 * time.Second)
			w.Ready(ctx, pt)
			Eventually(w.Sim.Generic.Issued).Should(Equal(2+burst), "with the last of the specs")
		},
		Entry("edits of the spec", func(pt *v1alpha1.ProviderToken, n int) string {
			pt.Spec.Scopes = []v1alpha1.Scope{v1alpha1.Scope(fmt.Sprint("s", n))}
			return ""
		}),
		Entry("requests to refresh", func(pt *v1alpha1.ProviderToken, n int) string {
			metav1.SetMetaDataAnnotation(&pt.ObjectMeta, v1alpha1.RefreshRequestedAtAnnotation, fmt.Sprint("r", n))
			return fmt.Sprint("r", n)
		}),
	)

	It("has it asked no more often while the provider refuses", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		w.Operator()
		w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": "wrong"})
		pt := w.Create(ctx, w.Wanted("generic"))
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonRequestDenied)
		for n := range 40 {
			w.Edit(ctx, pt, func(p *v1alpha1.ProviderToken) { p.Spec.Audience = fmt.Sprint("a", n) })
			Eventually(func(g Gomega) {
				var got v1alpha1.ProviderToken
				g.Expect(server.Client.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
				g.Expect(got.Status.ObservedGeneration).To(Equal(got.Generation))
				c := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.TokenIssuedCondition)
				g.Expect(c.Reason).To(Or(Equal(v1alpha1.ReasonThrottled), Equal(v1alpha1.ReasonRequestDenied)))
			}).WithPolling(5 * time.Millisecond).Should(Succeed())
		}
		Expect(len(w.Sim.Generic.Calls())).To(BeNumerically("<=", 1+burst))
	})

	It("with hundreds of objects at a provider delays another namespace's first token by one of them", func(ctx SpecContext) {
		const many = 300
		w := testworld.New(ctx, server)
		neighbour := w.NewNamespace(ctx, nil)
		tenant := newTenant(ctx, w.Namespace)
		w.Operator()
		w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		spec := func(credentials string) string {
			return fmt.Sprintf("providerRef: {kind: ClusterTokenProvider, name: %s}\ncredentials: {secretName: %s}", w.Cluster("generic"), credentials)
		}
		for n := range many {
			_, err := ask(ctx, tenant, w.Namespace, fmt.Sprintf("greedy-%03d", n), spec("generic-login"))
			Expect(err).NotTo(HaveOccurred())
		}
		// The clock stands still, so that the provider's share of a second is used up.
		Eventually(func() int { return len(w.Sim.Generic.Calls()) }).Should(Equal(20))
		secret(ctx, neighbour, "login", "ClusterTokenProvider."+w.Cluster("generic"), "", map[string]string{
			"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret,
		})
		other, err := ask(ctx, server.Client, neighbour, "modest", spec("login"))
		Expect(err).NotTo(HaveOccurred())
		Eventually(w.Waiting).WithPolling(10 * time.Millisecond).Should(Equal(many - 20 + 1))
		w.Clock.Step(time.Second)
		w.Ready(ctx, other)
		Expect(len(w.Sim.Generic.Calls())).To(BeNumerically("<=", 40), "in the very next second, of fifteen that the others need")
	})

	It("with ever new names makes no more series of metrics", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		w.Operator()
		for n := range 20 {
			name := fmt.Sprintf("name-%02d", n)
			if n == 0 {
				name = "up42" // as near to a name of the catalog as a name can be
			}
			secret(ctx, w.Namespace, name+"-login", "TokenProvider."+name, w.Sim.Generic.Address(), map[string]string{
				"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret,
			})
			tp := &v1alpha1.TokenProvider{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: name}}
			decode(fmt.Sprintf("tokenURL: %s\ncaBundle: %q", w.Sim.Generic.TokenURL(), w.Sim.CABundle()), &tp.Spec)
			Expect(tenant.Create(ctx, tp)).To(Succeed())
			pt, err := ask(ctx, tenant, w.Namespace, name, fmt.Sprintf("providerRef: {kind: TokenProvider, name: %s}\ncredentials: {secretName: %s-login}", name, name))
			Expect(err).NotTo(HaveOccurred())
			w.Ready(ctx, pt)
			Expect(tenant.Delete(ctx, pt)).To(Succeed())
			w.Clock.Step(time.Second)
		}
		Eventually(func(g Gomega) {
			families, err := w.Registry.Gather()
			g.Expect(err).NotTo(HaveOccurred())
			for _, f := range families {
				for _, m := range f.GetMetric() {
					for _, l := range m.GetLabel() {
						g.Expect(l.GetValue()).NotTo(Or(HavePrefix("name-"), Equal("up42")), f.GetName())
					}
				}
			}
		}).Should(Succeed())
	})

	It("is held to bounds by the API before the operator reads a word", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		list := func(n int, each string) string {
			all := make([]string, n)
			for i := range all {
				all[i] = fmt.Sprintf(each, i)
			}
			return strings.Join(all, ", ")
		}
		huge := strings.Repeat("x", 70<<10)
		refused := []string{
			"providerRef: {name: UP42}\nscopes: [" + list(65, "s%d") + "]",
			"providerRef: {name: UP42}\nscopes: [" + huge + "]",
			"providerRef: {name: UP42}\naudience: " + huge,
			"providerRef: {name: UP42}\nresources: [" + list(17, "'https://a.example/%d'") + "]",
			"providerRef: {name: UP42, parameters: {" + list(17, "p%d: x") + "}}",
			"providerRef: {name: UP42, parameters: {p: " + huge + "}}",
			"providerRef: {name: UP42}\ntarget: {template: {data: {a: " + huge + "}}}",
			"providerRef: {name: UP42}\ntarget: {template: {data: {" + list(33, "k%d: x") + "}}}",
			"providerRef: {name: UP42}\ntarget: {template: {metadata: {annotations: {a: " + huge + "}}}}",
			"provider: {tokenURL: 'https://a.example/" + huge + "'}",
			"provider: {tokenURL: 'https://a.example', response: {accessToken: [/" + huge + "]}}",
			"provider: {tokenURL: 'https://a.example', response: {error: [" + list(9, "/e%d") + "]}}",
			"provider: {tokenURL: 'https://a.example', formParameters: {" + list(17, "p%d: x") + "}}",
			"provider: {tokenURL: 'https://a.example', request: {headers: {" + list(17, "X-%d: x") + "}}}",
			"provider: {tokenURL: 'https://a.example', extraCredentials: [" + list(9, "c%d") + "]}",
			"provider: {tokenURL: 'https://a.example', caBundle: '-----BEGIN CERTIFICATE-----" + strings.Repeat("x", 256<<10) + "'}",
			"provider: {tokenURL: 'https://a.example', limits: {perSecond: 1000000}}",
			"provider: {tokenURL: 'https://a.example', limits: {concurrency: 65}}",
		}
		for i, spec := range refused {
			_, err := ask(ctx, tenant, w.Namespace, fmt.Sprintf("huge-%d", i), spec+"\ncredentials: {secretName: login}")
			Expect(err).To(HaveOccurred(), "%.80s", spec)
		}
		AddReportEntry("attempts", len(refused))
	})

	It("has templates and bodies that would grow refused, and nothing asked for them", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		w.Tune = func(o *controller.Options) { o.MaxConcurrentReconciles = 1 } // whoever takes long holds up all
		w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		bomb := `{{$x := printf "%s%s%s%s" .token .token .token .token}}` + strings.Repeat(`{{$x = printf "%s%s%s%s%s%s%s%s" $x $x $x $x $x $x $x $x}}`, 40) + "{{$x}}"
		templates := []string{
			bomb,
			`{{printf "%1000000000s" .token}}`, `{{printf "%[1]*d" 1000000000}}`, `{{printf "%.999999999f" 1.0}}`,
			`{{range .scopes}}x{{end}}`, `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`, `{{block "a" .}}x{{end}}`,
			`{{call .token}}`, `{{env "HOME"}}`, `{{lookup "v1" "Secret" "kube-system" "x"}}`, `{{include "x" .}}`, `{{tpl .token .}}`, `{{html .token}}`, `{{js .token}}`,
			`{{indent 1000000000 .token}}`, `{{.client_secret}}`, `{{.credentials.client_secret}}`, `{{.Values.x}}`, `{{index . "token"}}`, `{{getHostByName "metadata"}}`,
			strings.Repeat("{{if .token}}", 1000), strings.Repeat(`{{replace "" .token (printf "%s" .token)}}`, 300),
			`{{replace "a" (replace "a" .token .authorization) .authorization}}{{slice .token 0 99999999}}`,
		}
		for n, text := range templates {
			pt := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: fmt.Sprintf("template-%d", n)}, Spec: w.Wanted("generic").Spec}
			pt.Spec.Target = &v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{"x": v1alpha1.TemplateText(text)}}}
			Expect(tenant.Create(ctx, pt)).To(Succeed(), text)
		}
		w.Operator()
		for name, said := range settled(ctx, w.Namespace) {
			Expect(said).To(HavePrefix("SecretPublished "), name)
			Expect(said).To(Or(ContainSubstring("InvalidTemplate"), ContainSubstring("TargetTooLarge")), name)
			Expect(len(said)).To(BeNumerically("<", 1024), name)
		}
		Expect(w.Sim.Generic.Calls()).To(BeEmpty())
		AddReportEntry("attempts", len(templates))
	})
})
