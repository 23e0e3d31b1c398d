package attacks_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	testworld "github.com/providertoken/operator/test/world"
)

// Words that must not be found in anything that is told.
const (
	mark     = "mark-8f3a"              // of what a malicious provider says
	granted  = "grant-21d7"             // the same, where it says which scopes it granted
	identity = "client-of-6c1d"         // the client_id that it was sent
	password = "not-to-be-echoed-77e0b" // the client_secret that it was sent
)

var _ = Describe("a malicious provider", func() {
	// trusted makes a ClusterTokenProvider, which vouches for the endpoint, for each handler.
	trusted := func(ctx SpecContext, w *testworld.World, handlers map[string]http.HandlerFunc) map[string]*trap {
		GinkgoHelper()
		traps := map[string]*trap{}
		for name, handler := range handlers {
			traps[name] = setTrap("127.0.0.1:0", handler)
			p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Cluster(name)}}
			p.Spec.TokenURL, p.Spec.CABundle = traps[name].URL+"/t", traps[name].bundle()
			Expect(server.Client.Create(ctx, p)).To(Succeed())
			DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(server.Client.Delete(ctx, p))).To(Succeed()) })
			secret(ctx, w.Namespace, name+"-login", "ClusterTokenProvider."+p.Name, "", map[string]string{"client_id": identity, "client_secret": password})
			w.Create(ctx, w.Wanted(name))
		}
		return traps
	}
	says := func(status int, body string, headers ...string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			for i := 0; i < len(headers); i += 2 {
				rw.Header().Add(headers[i], headers[i+1])
			}
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte(body))
		}
	}

	It("puts none of its words into conditions, events, logs or metrics, and none of ours that it was sent", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		began := logs.mark()
		words := []string{
			mark, mark + "<script>alert(1)</script>", mark + `\u001b[31m`, mark + `\u202eyllacitirc`, mark + `\n2026-11-21T12:00:00Z ERROR forged`, mark + `\u0000`, mark + `\ud800`,
			password, identity + ":" + password, mark + strings.Repeat("x", 60<<10), "invalid_client#" + mark, mark + "#",
		}
		handlers := map[string]http.HandlerFunc{}
		add := func(h http.HandlerFunc) { handlers[fmt.Sprintf("bad-%03d", len(handlers))] = h }
		for i, word := range words {
			status := []int{200, 400, 401, 403, 500}[i%5]
			add(says(status, `{"error":"`+word+`","error_description":"`+word+`","error_uri":"https://`+mark+`"}`))
			add(says(400, `{"error":{"code":"`+word+`","message":"`+word+`","type":["`+word+`"]}}`))
			add(says(200, `{"access_token":"ok","token_type":"`+word+`","expires_in":3600}`))
			add(says(200, `{"access_token":"ok","scope":"read `+strings.ReplaceAll(word, mark, granted)+`","expires_in":3600}`))
			add(says(200, `{"access_token":"`+word+` ","expires_in":"`+word+`"}`))
			add(says(200, `{"access_token":"ok","expires_at":"`+word+`","refresh_token":"`+word+`"}`))
		}
		for _, status := range []int{302, 404, 429, 503, 599, 204} {
			add(says(status, "<html>"+mark+"</html>", "Location", "https://"+mark+"/"+password, "Retry-After", mark, "Date", mark, "WWW-Authenticate", `Bearer error="`+mark+`"`, "X-"+mark, mark))
		}
		for _, document := range []string{
			`{"access_token":"a` + mark + `","access_token":"b","expires_in":3600}`, `["` + mark + `"]`, `{"access_token":{"` + mark + `":1}}`, strings.Repeat(`{"`+mark+`":`, 3000) + "1" + strings.Repeat("}", 3000),
			`{"access_token":"` + mark + `\n","expires_in":3600}`, `{"access_token":"` + mark + `\u007f","expires_in":3600}`, `error=` + mark + `&access_token=` + mark, "", "\x00\xff" + mark, `{"ok":false,"error":"` + mark + `"}`,
			`{"access_token":"ok","expires_in":-1}`, `{"access_token":"ok","expires_in":1e999}`, `{"access_token":"ok","expires_in":NaN}`, `{"access_token":"ok","expires_in":0}`, `{"access_token":"ok","expires_in":"` + mark + `"}`,
			`{"access_token":"ok","expires_in":99999999999999999999}`, `{"access_token":"` + strings.Repeat("t", 40<<10) + `","expires_in":3600}`,
		} {
			add(says(200, document))
		}
		var bomb bytes.Buffer
		z := gzip.NewWriter(&bomb)
		_, _ = z.Write(bytes.Repeat([]byte(mark), 8<<20/len(mark)))
		_ = z.Close()
		add(says(200, bomb.String(), "Content-Encoding", "gzip"))
		add(says(200, "{}", "Content-Encoding", mark))
		add(says(200, "{}", "X-Large", strings.Repeat(mark, 20<<10)))
		add(func(rw http.ResponseWriter, r *http.Request) { // what it was sent, back
			id, key, _ := r.BasicAuth()
			says(400, `{"error":"`+id+`","error_description":"`+key+`"}`, "Location", key)(rw, r)
		})
		add(func(rw http.ResponseWriter, _ *http.Request) { // not even HTTP
			connection, _, err := http.NewResponseController(rw).Hijack()
			if err == nil {
				_, _ = connection.Write([]byte("HTTP/1.1 200 " + mark + "\r\n" + mark + "\x1b: x\r\n\r\n"))
				_ = connection.Close()
			}
		})
		traps := trusted(ctx, w, handlers)
		w.Operator()
		said := settled(ctx, w.Namespace)
		Expect(said).To(HaveLen(len(traps)))
		everything := told(ctx, w, began)
		// One thing is the provider's own, for a definition that somebody vouches for: what
		// it says that it granted, where that is a word and none of ours.
		var tokens v1alpha1.ProviderTokenList
		Expect(server.Client.List(ctx, &tokens, client.InNamespace(w.Namespace))).To(Succeed())
		for i := range tokens.Items {
			if t := tokens.Items[i].Status.Token; t != nil {
				for _, scope := range t.Scopes {
					Expect(scope).To(MatchRegexp(`^[!-~]{1,256}$`))
					Expect(scope).NotTo(MatchRegexp("[<>\"'`\\\\{}|^]"))
					everything = strings.ReplaceAll(everything, "  - "+scope+"\n", "")
				}
			}
		}
		Expect(lines(everything, mark, granted, password)).To(BeEmpty())
		Expect(everything).NotTo(MatchRegexp("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]"))
		var all corev1.SecretList
		Expect(server.Client.List(ctx, &all, client.InNamespace(w.Namespace))).To(Succeed())
		for i := range all.Items {
			for key, value := range all.Items[i].Annotations {
				Expect(key + value).NotTo(Or(ContainSubstring(password), ContainSubstring("<"), MatchRegexp("[\x00-\x1f]")))
				Expect(len(value)).To(BeNumerically("<", 20<<10))
			}
		}
		AddReportEntry("attempts", len(traps))
	})

	It("does not get its certificate's words told", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		began := logs.mark()
		traps := trusted(ctx, w, map[string]http.HandlerFunc{"certified": obliging})
		// What is asked for is another name than the certificate's, which is for example.com.
		names.answer("elsewhere.example.net", addresses("127.0.0.1"))
		var p v1alpha1.ClusterTokenProvider
		Expect(server.Client.Get(ctx, client.ObjectKey{Name: w.Cluster("certified")}, &p)).To(Succeed())
		p.Spec.TokenURL = "https://elsewhere.example.net:" + traps["certified"].port() + "/t"
		Expect(server.Client.Update(ctx, &p)).To(Succeed())
		w.Operator()
		Expect(settled(ctx, w.Namespace)["certified"]).To(ContainSubstring("for another host name"))
		Expect(told(ctx, w, began)).NotTo(Or(ContainSubstring("Acme Co"), ContainSubstring("valid for")))
	})

	It("cannot make the operator ask again and again", func(ctx SpecContext) {
		w := testworld.New(ctx, server)
		traps := trusted(ctx, w, map[string]http.HandlerFunc{
			"pause-none":     says(429, "{}", "Retry-After", "0"),
			"pause-negative": says(429, "{}", "Retry-After", "-5"),
			"pause-past":     says(503, "{}", "Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"),
			"pause-nan":      says(429, "{}", "Retry-After", "NaN"),
			"redirect":       says(307, "{}", "Location", "/t"),
			"not-there":      says(404, "{}"),
			"expired":        says(200, `{"access_token":"ok","expires_at":1}`),
			"same":           says(200, `{"access_token":"always-the-same","expires_in":600}`),
			"denied":         says(401, `{"error":"invalid_client"}`),
		})
		w.Operator()
		settled(ctx, w.Namespace)
		// In half a minute of the provider's time, second by second.
		for range 25 {
			w.Clock.Step(time.Second)
			testworld.StaysFor(30*time.Millisecond, func() bool { return true }, true)
		}
		for name, t := range traps {
			t.mu.Lock()
			asked := len(t.bodies)
			t.mu.Unlock()
			most := 1
			if name == "expired" || name == "pause-past" {
				most = 12 // as any failure: with a growing delay
			}
			Expect(asked).To(And(BeNumerically(">=", 1), BeNumerically("<=", most)), name)
		}
	})
})
