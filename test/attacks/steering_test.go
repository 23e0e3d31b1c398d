package attacks_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

func addresses(all ...string) []netip.Addr {
	var found []netip.Addr
	for _, a := range all {
		found = append(found, netip.MustParseAddr(a))
	}
	return found
}

var _ = Describe("a tenant who steers a request", func() {
	It("reaches nothing inside, in whichever form the address is written or found", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		w.Guarded = true
		tenant := newTenant(ctx, w.Namespace)
		w.Network = func(o *exchange.Options) { o.Internal = addresses("20.50.60.70") } // as the API server's, in a managed cluster
		four, six := setTrap("127.0.0.1:0", obliging), setTrap("[::1]:0", obliging)

		forms := map[string]string{} // by name: host and port
		add := func(hosts ...string) {
			for _, h := range hosts {
				forms[fmt.Sprintf("form-%02d", len(forms))] = h
			}
		}
		p := ":" + four.port()
		add("127.0.0.1"+p, "[::ffff:127.0.0.1]"+p, "[::ffff:7f00:1]"+p, "[::127.0.0.1]"+p, "[64:ff9b::127.0.0.1]"+p, "[64:ff9b:1::127.0.0.1]"+p, "[2002:7f00:1::1]"+p,
			"[2001:0:808:808::80ff:fffe]"+p, "[2606:4700::5efe:127.0.0.1]"+p, "[::ffff:0:127.0.0.1]"+p, "[::1]:"+six.port(), "[::]:"+six.port(), "0.0.0.0"+p)
		add("169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[64:ff9b::169.254.169.254]", "100.100.100.200", "168.63.129.16", "192.0.0.192", "[fd20:ce::254]", "[fe80::1]")
		add("10.96.0.1", "20.50.60.70", "34.118.224.1", "[fd12::1]", "172.20.0.1", "192.168.0.1", "100.64.0.1")
		// What a resolver that takes numbers for addresses, or a name of somebody's own, leads to.
		named := map[string][]netip.Addr{
			"2130706433": addresses("127.0.0.1"), "0x7f000001": addresses("127.0.0.1"), "0x7f.1": addresses("127.0.0.1"), "017700000001": addresses("127.0.0.1"), "127.1": addresses("127.0.0.1"),
			"localhost.example.com": addresses("127.0.0.1", "::1"), "metadata.example.com": addresses("169.254.169.254"), "kubernetes.example.com": addresses("10.96.0.1"),
			"api.example.com": addresses("20.50.60.70"), "mapped.example.com": addresses("::ffff:127.0.0.1"), "nat64.example.com": addresses("64:ff9b::7f00:1"),
		}
		for name, found := range named {
			names.answer(name, found)
			add(name + p)
		}
		for name, host := range forms {
			allowed := host // as its Host is written
			if a, err := netip.ParseAddrPort(host); err == nil {
				allowed = a.String()
			} else if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
				allowed = netip.AddrPortFrom(a, 443).String()
			}
			secret(ctx, w.Namespace, name+"-login", "ProviderToken."+name, allowed+", "+strings.ToLower(host), map[string]string{"client_id": "id", "client_secret": treasure})
			_, err := ask(ctx, tenant, w.Namespace, name, fmt.Sprintf("provider: {tokenURL: 'https://%s/t', caBundle: %q}\ncredentials: {secretName: %s-login}", host, four.bundle(), name))
			Expect(err).NotTo(HaveOccurred(), host)
		}
		w.Operator()
		for name, said := range settled(ctx, w.Namespace) {
			if strings.Contains(said, "was not found in the DNS") {
				// Go asks the DNS for no name that is a number; another resolver might.
				Expect(forms[name]).To(MatchRegexp(`^(0x)?[0-9a-f.]+:`))
				continue
			}
			Expect(said).To(And(HavePrefix("TokenIssued ProviderMisconfigured"), ContainSubstring("refused"), ContainSubstring("--allow-networks")), forms[name])
			if strings.Contains(forms[name], "example") {
				Expect(said).NotTo(MatchRegexp(`[0-9]+\.[0-9]+\.[0-9]+|::`), "what a name resolves to inside is not told")
			}
		}
		Expect(four.sprung() + six.sprung()).To(BeZero())
		AddReportEntry("attempts", len(forms))
	})

	It("gets nowhere by a name that resolves to another address the second time, or to several at once", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		w.Guarded = true
		// Of loopback, 127.0.0.1 plays the public address and 127.0.0.2 what must not be reached.
		w.Network = func(o *exchange.Options) { o.AllowNetworks = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")} }
		public := setTrap("127.0.0.1:0", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Connection", "close") // so that the name is looked up again
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write([]byte(`{"access_token":"from-the-public-one","expires_in":600}`))
		})
		inside := setTrap("127.0.0.2:"+public.port(), obliging)
		host := "example.com:" + public.port()
		names.answer("example.com", addresses("127.0.0.1"), addresses("127.0.0.2"), addresses("127.0.0.2", "127.0.0.1"))
		secret(ctx, w.Namespace, "login", "ProviderToken.rebound", host, map[string]string{"client_id": "id", "client_secret": treasure})
		tenant := newTenant(ctx, w.Namespace)
		pt, err := ask(ctx, tenant, w.Namespace, "rebound", fmt.Sprintf("provider: {tokenURL: 'https://%s/t', caBundle: %q}\ncredentials: {secretName: login}", host, public.bundle()))
		Expect(err).NotTo(HaveOccurred())
		w.Operator()
		first := w.Ready(ctx, pt)
		w.Clock.SetTime(first.Status.RefreshAt.Time)
		w.Becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonProviderMisconfigured)
		Expect(inside.sprung()).To(BeZero())

		// Two addresses at once: the one that is not refused serves.
		w.Clock.SetTime(first.Status.Token.ExpiresAt.Time)
		w.Clock.Step(time.Minute)
		Eventually(public.sprung).Should(Equal(2))
		w.Ready(ctx, pt)
		Expect(inside.sprung()).To(BeZero())
	})

	It("gets nothing out of a redirect or an issuer's metadata that lead elsewhere", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		began := logs.mark()
		lure := setTrap("127.0.0.1:0", obliging)
		held := map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret}
		asked := map[string]string{}
		for i, location := range []string{
			lure.URL + "/astray", "//" + lure.Listener.Addr().String() + "/astray", "/other", "http://169.254.169.254/latest/meta-data/", "https://user:pw@127.0.0.1/", "javascript:alert(1)", "https://a.example/\u202e<script>", strings.Repeat("x", 9000),
		} {
			for _, status := range []int{301, 302, 303, 307, 308} {
				name := fmt.Sprintf("redirect-%d-%d", i, status)
				hop := setTrap("127.0.0.1:0", func(rw http.ResponseWriter, _ *http.Request) {
					rw.Header().Set("Location", location)
					rw.WriteHeader(status)
				})
				asked[name] = fmt.Sprintf("provider: {tokenURL: '%s/t', caBundle: %q}", hop.URL, hop.bundle())
				secret(ctx, w.Namespace, name+"-login", "ProviderToken."+name, hop.Listener.Addr().String(), held)
			}
		}
		for name, document := range map[string]string{
			"moved":        `"token_endpoint":"` + lure.URL + `/t"`,
			"moved-port":   `"token_endpoint":"https://127.0.0.1:1/t"`,
			"moved-user":   `"token_endpoint":"https://ISSUER@` + lure.Listener.Addr().String() + `/t"`,
			"moved-plain":  `"token_endpoint":"http://` + lure.Listener.Addr().String() + `/t"`,
			"moved-markup": `"token_endpoint":"https://ISSUER/<script>"`,
			"moved-twice":  `"token_endpoint":"https://ISSUER/t","token_endpoint":"` + lure.URL + `"`,
			"moved-mtls":   `"token_endpoint":"https://ISSUER/t","mtls_endpoint_aliases":{"token_endpoint":"` + lure.URL + `/t"}`,
		} {
			var issuer *trap
			issuer = setTrap("127.0.0.1:0", func(rw http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet {
					rw.WriteHeader(http.StatusTeapot)
					return
				}
				_, _ = fmt.Fprintf(rw, `{"issuer":%q,%s}`, issuer.URL, strings.ReplaceAll(document, "ISSUER", issuer.Listener.Addr().String()))
			})
			asked[name] = fmt.Sprintf("provider: {issuerURL: '%s', caBundle: %q}", issuer.URL, issuer.bundle())
			if name == "moved-mtls" {
				asked[name] = fmt.Sprintf("provider: {issuerURL: '%s', clientAuthentication: SecretPost, caBundle: %q}", issuer.URL, issuer.bundle())
			}
			secret(ctx, w.Namespace, name+"-login", "ProviderToken."+name, issuer.Listener.Addr().String(), held)
		}
		for name, spec := range asked {
			_, err := ask(ctx, tenant, w.Namespace, name, spec+"\ncredentials: {secretName: "+name+"-login}")
			Expect(err).NotTo(HaveOccurred(), name)
		}
		w.Operator()
		for name, said := range settled(ctx, w.Namespace) {
			Expect(said).NotTo(Equal(v1alpha1.ReadyCondition), name)
			Expect(said).NotTo(Or(ContainSubstring("169.254"), ContainSubstring("script")), name)
			if strings.HasPrefix(name, "redirect") {
				Expect(said).To(ContainSubstring("redirects, which is never followed"), name)
			}
		}
		Expect(lure.sprung()).To(BeZero())
		Expect(lines(told(ctx, w, began), providersim.GenericClientSecret, "<script>", "javascript:")).To(BeEmpty())
		AddReportEntry("attempts", len(asked))
	})

	It("puts nothing into a request that a credential only holds as text", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		tenant := newTenant(ctx, w.Namespace)
		began := logs.mark()
		values := map[string]string{
			"form": "x&grant_type=password&scope=admin=1%26+;", "percent": "%0d%0aX-Evil: 1%00", "quotes": `x","admin":true,"y":"\u0000`, "colon": "a:b:c",
			"crlf": "x\r\nX-Evil: 1\r\n\r\nPOST /evil HTTP/1.1", "newline": "x\n", "nul": "x\x00y", "latin": "p\u00e4ssword", "bidi": "x\u202ey", "escape": "\x1b[31mx",
			"braces": "{client_id}{username}", "template": "{{.token}}", "long": strings.Repeat("x", 200<<10), "space": " x ",
		}
		bodies := map[string]string{"form": "", "basic": "", "json": "", "header": ""}
		received := map[string]*trap{}
		for kind := range bodies {
			received[kind] = setTrap("127.0.0.1:0", func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Evil") != "" || r.URL.Path != "/t" || r.URL.RawQuery != "" || r.Method != http.MethodPost {
					rw.WriteHeader(http.StatusTeapot)
				}
				obliging(rw, r)
			})
		}
		shape := map[string]string{
			"form": "clientAuthentication: SecretPost", "basic": "clientAuthentication: SecretBasic", "json": "clientAuthentication: SecretPost, request: {body: JSON}",
			"header": "clientAuthentication: SecretPost, request: {headers: {X-Key: '{client_id}'}}, formParameters: {also: '{client_id}'}",
		}
		for kind, how := range shape {
			for name, value := range values {
				of := kind + "-" + name
				s := &corev1.Secret{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: of + "-login", Labels: map[string]string{v1alpha1.CredentialsForLabel: "ProviderToken." + of},
						Annotations: map[string]string{v1alpha1.AllowedHostsAnnotation: received[kind].Listener.Addr().String()}},
					Data: map[string][]byte{"client_id": []byte(value), "client_secret": []byte("s" + value)},
				}
				Expect(server.Client.Create(ctx, s)).To(Succeed())
				_, err := ask(ctx, tenant, w.Namespace, of, fmt.Sprintf("provider: {tokenURL: '%s/t', caBundle: %q, %s}\ncredentials: {secretName: %s-login}", received[kind].URL, received[kind].bundle(), how, of))
				Expect(err).NotTo(HaveOccurred(), of)
			}
		}
		w.Operator()
		sent := 0
		for name, said := range settled(ctx, w.Namespace) {
			_, value, _ := strings.Cut(name, "-")
			Expect(said).To(Or(Equal(v1alpha1.ReadyCondition), HavePrefix("CredentialsResolved InvalidCredentials")), name)
			if said == v1alpha1.ReadyCondition {
				sent++
				Expect(value).NotTo(BeElementOf("crlf", "newline", "nul", "latin", "bidi", "escape"), "%s: what has no place in RFC 6749's VSCHAR is not sent", name)
			} else {
				Expect(said).NotTo(Or(ContainSubstring("Evil"), ContainSubstring("\u202e"), ContainSubstring("\x1b"), ContainSubstring("admin")), name)
			}
		}
		Expect(sent).To(BeNumerically(">=", 4*4), "and what has one, is")
		for kind, t := range received {
			for _, body := range t.bodies {
				Expect(body).NotTo(ContainSubstring("\r\n"), kind)
				if kind == "form" || kind == "header" {
					Expect(strings.Count(body, "grant_type=")).To(Equal(1), body)
					Expect(body).NotTo(ContainSubstring("scope="), body)
				}
				if kind == "json" {
					Expect(body).NotTo(ContainSubstring(`"admin":true`), body)
				}
			}
		}
		Expect(lines(told(ctx, w, began), "X-Evil", "\x1b[31mx", "p\u00e4ssword")).To(BeEmpty())
		AddReportEntry("attempts", len(values)*len(shape))
	})
})
