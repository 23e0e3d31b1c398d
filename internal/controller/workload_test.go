package controller_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/internal/workload"
	testworld "github.com/providertoken/operator/test/world"
)

// unlistedAudience is one that the API server of the suite accepts, and that it does
// not tell anybody about.
const unlistedAudience = "https://api.spec.internal"

const (
	formJWTBearer     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	formTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	formAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	formTokenTypeJWT  = "urn:ietf:params:oauth:token-type:jwt"
)

// authority is a token endpoint that trusts the suite's API server as an issuer: it
// verifies each token of a ServiceAccount against the API server's published keys, and
// takes it only from one ServiceAccount and for itself.
type authority struct {
	server   *httptest.Server
	issuer   string
	keys     map[string]*ecdsa.PublicKey
	audience string
	subject  string

	// refreshable hands out refresh tokens too.
	refreshable bool

	mu sync.Mutex
	// throttled answers nothing but 429.
	throttled bool
	requests  []url.Values
	refused   []string
	seen      map[string]bool
}

// newAuthority starts an authority that trusts ServiceAccount app of the world.
func (w *world) newAuthority(ctx context.Context) *authority {
	GinkgoHelper()
	clients, err := kubernetes.NewForConfig(apiServer)
	Expect(err).NotTo(HaveOccurred())
	a := &authority{subject: "system:serviceaccount:" + w.Namespace + ":app", keys: map[string]*ecdsa.PublicKey{}, seen: map[string]bool{}}
	var metadata struct {
		Issuer string `json:"issuer"`
	}
	var set struct {
		Keys []struct{ Kty, Kid, Crv, X, Y string } `json:"keys"`
	}
	for path, into := range map[string]any{"/.well-known/openid-configuration": &metadata, "/openid/v1/jwks": &set} {
		body, err := clients.RESTClient().Get().AbsPath(path).DoRaw(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(json.Unmarshal(body, into)).To(Succeed())
	}
	a.issuer = metadata.Issuer
	for _, k := range set.Keys {
		Expect([]string{k.Kty, k.Crv}).To(Equal([]string{"EC", "P-256"}), "envtest's keys")
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		Expect(err).NotTo(HaveOccurred())
		y, err := base64.RawURLEncoding.DecodeString(k.Y)
		Expect(err).NotTo(HaveOccurred())
		a.keys[k.Kid], err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		Expect(err).NotTo(HaveOccurred())
	}
	Expect(a.keys).NotTo(BeEmpty())
	a.server = httptest.NewTLSServer(a)
	DeferCleanup(a.server.Close)
	a.audience = a.tokenURL()
	return a
}

func (a *authority) tokenURL() string { return a.server.URL + "/token" }

// host is host:port.
func (a *authority) host() string { return strings.TrimPrefix(a.server.URL, "https://") }

func (a *authority) caBundle() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.server.Certificate().Raw}))
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if a.throttled {
		a.requests = append(a.requests, nil)
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	if err := a.judge(r); err != nil {
		a.refused = append(a.refused, err.Error())
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_request"}`))
		return
	}
	answer := map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 3600}
	if a.refreshable {
		answer["refresh_token"] = "again"
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (a *authority) judge(r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return err
	}
	a.requests = append(a.requests, r.PostForm)
	form := maps.Clone(r.PostForm)
	if r.Method != http.MethodPost || r.URL.RequestURI() != "/token" || r.Header.Get("Authorization") != "" {
		return fmt.Errorf("%s %s", r.Method, r.URL)
	}
	var issued string
	take := func(name string) string {
		values := form[name]
		delete(form, name)
		if len(values) != 1 {
			return fmt.Sprint(values)
		}
		return values[0]
	}
	switch grant := take("grant_type"); grant {
	case formTokenExchange:
		issued = take("subject_token")
		if kind := take("subject_token_type"); kind != formTokenTypeJWT {
			return fmt.Errorf("a subject token of type %s", kind)
		}
	case "refresh_token":
		if used := take("refresh_token"); !a.refreshable || used != "again" || len(form) > 0 {
			return fmt.Errorf("refresh token %s, with %v", used, form)
		}
		return nil
	case formJWTBearer:
		issued = take("assertion")
	case "client_credentials":
		issued = take("client_assertion")
		if kind := take("client_assertion_type"); kind != formAssertionType {
			return fmt.Errorf("a client assertion of type %s", kind)
		}
		if id := take("client_id"); id != "app-1" {
			return fmt.Errorf("client %s", id)
		}
	default:
		return fmt.Errorf("grant %s", grant)
	}
	if len(form) > 0 {
		return fmt.Errorf("fields that do not belong there: %v", slices.Collect(maps.Keys(form)))
	}
	return a.verify(issued)
}

// verify is what RFC 7523 section 3 asks for.
func (a *authority) verify(issued string) error {
	claims := jwt.RegisteredClaims{}
	_, err := jwt.ParseWithClaims(issued, &claims, func(t *jwt.Token) (any, error) {
		kid, _ := t.Header["kid"].(string)
		if key := a.keys[kid]; key != nil {
			return key, nil
		}
		return nil, fmt.Errorf("no key %q", kid)
	}, jwt.WithValidMethods([]string{"ES256"}), jwt.WithExpirationRequired(), jwt.WithIssuer(a.issuer), jwt.WithSubject(a.subject))
	switch {
	case err != nil:
		return err
	case len(claims.Audience) != 1 || claims.Audience[0] != a.audience:
		return fmt.Errorf("for %v", claims.Audience)
	case claims.ExpiresAt.Sub(claims.IssuedAt.Time) > 10*time.Minute:
		return fmt.Errorf("for %s", claims.ExpiresAt.Sub(claims.IssuedAt.Time))
	case a.seen[claims.ID]:
		return fmt.Errorf("token %s is used again", claims.ID)
	}
	a.seen[claims.ID] = true
	return nil
}

// throttle makes it answer nothing but 429 from now on.
func (a *authority) throttle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.throttled = true
}

// got is how many requests arrived.
func (a *authority) got() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.requests)
}

// complaints are what was wrong with requests.
func (a *authority) complaints() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.refused)
}

// account is ServiceAccount app, which consents as its annotations say.
func (w *world) account(ctx context.Context, audiences, hosts string) *corev1.ServiceAccount {
	GinkgoHelper()
	s := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "app", Annotations: map[string]string{}}}
	if audiences != "" {
		s.Annotations[v1alpha1.AllowedAudiencesAnnotation] = audiences
	}
	if hosts != "" {
		s.Annotations[v1alpha1.AllowedHostsAnnotation] = hosts
	}
	Expect(k8s.Create(ctx, s)).To(Succeed())
	return s
}

// federated is a ProviderToken whose credential is the token of ServiceAccount app,
// with the definition of a platform team.
func (w *world) federated(ctx context.Context, a *authority, change func(*v1alpha1.ProviderDefinition)) *v1alpha1.ProviderToken {
	GinkgoHelper()
	def := v1alpha1.ProviderDefinition{TokenURL: a.tokenURL(), CABundle: a.caBundle(), Grant: "TokenExchange", ClientAuthentication: "None"}
	if change != nil {
		change(&def)
	}
	p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: w.Cluster("federated")}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: def}}
	Expect(k8s.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, p))).To(Succeed()) })
	return &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "federated"},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: p.Name},
			Credentials: &v1alpha1.Credentials{ServiceAccount: &v1alpha1.ServiceAccountCredentials{Name: "app"}},
		},
	}
}

// resolved is the message of CredentialsResolved.
func (w *world) resolved(ctx context.Context, pt *v1alpha1.ProviderToken) string {
	GinkgoHelper()
	return w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Message
}

var _ = Describe("the token of a ServiceAccount", func() {
	var (
		w *world
		a *authority
	)

	BeforeEach(func(ctx SpecContext) {
		w = newWorld(ctx)
		w.Identities = true
		a = w.newAuthority(ctx)
	})

	DescribeTable("stands for the credential that no Secret holds", func(ctx SpecContext, change func(*v1alpha1.ProviderDefinition)) {
		w.account(ctx, a.tokenURL(), a.host())
		w.Operator()
		pt := w.Create(ctx, w.federated(ctx, a, change))
		w.Ready(ctx, pt)
		w.StepToRefresh(ctx, pt)
		Expect(a.complaints()).To(BeEmpty())
		Expect(a.got()).To(Equal(2))
		Expect(w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Status).To(Equal(metav1.ConditionTrue))
	},
		Entry("as subject token (RFC 8693)", func(*v1alpha1.ProviderDefinition) {}),
		Entry("as the grant's assertion (RFC 7523 section 2.1)", func(d *v1alpha1.ProviderDefinition) { d.Grant = "JWTBearer" }),
		Entry("as client assertion (RFC 7523 section 2.2)", func(d *v1alpha1.ProviderDefinition) {
			d.Grant, d.ClientAuthentication, d.ClientID = "ClientCredentials", "FederatedJWT", "app-1"
		}),
	)

	It("is for the audience that the ProviderToken names", func(ctx SpecContext) {
		a.audience = "api://AzureADTokenExchange"
		w.account(ctx, "other, api://AzureADTokenExchange", "example.com, "+a.host())
		w.Operator()
		pt := w.federated(ctx, a, nil)
		pt.Spec.Credentials.ServiceAccount.Audience = a.audience
		w.Ready(ctx, w.Create(ctx, pt))
		Expect(a.complaints()).To(BeEmpty())
	})

	It("costs two requests more for a refresh: a read of the ServiceAccount and a token", func(ctx SpecContext) {
		w.account(ctx, a.tokenURL(), a.host())
		w.Operator()
		pt := w.Create(ctx, w.federated(ctx, a, nil))
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		first := w.Sent()
		Expect(first["POST tokenreviews"]).To(Equal(2), "once for each audience, and only then")
		for range 3 {
			w.StepToRefresh(ctx, pt)
		}
		w.Settle(ctx, pt)
		Expect(w.Sent().Since(first)).To(Equal(testworld.Requests{
			"PUT secrets": 3, "PATCH providertokens": 3, "GET serviceaccounts": 3, "POST serviceaccounts": 3,
		}))
	})

	It("is asked for only where the ServiceAccount says for whom and where to, and a missing one reads the same", func(ctx SpecContext) {
		w.Operator()
		pt := w.Create(ctx, w.federated(ctx, a, nil))
		waiting := func() string {
			GinkgoHelper()
			w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
			return w.resolved(ctx, pt)
		}
		missing := waiting()
		Expect(missing).To(And(ContainSubstring(`"app"`), ContainSubstring("in namespace "+w.Namespace),
			ContainSubstring(`providertoken.dev/allowed-audiences: %q`, a.tokenURL()), ContainSubstring(`providertoken.dev/allowed-hosts: %q`, a.host())))

		account := w.account(ctx, "", "")
		for _, annotations := range []map[string]string{
			nil,
			{v1alpha1.AllowedAudiencesAnnotation: a.tokenURL()},
			{v1alpha1.AllowedHostsAnnotation: a.host()},
			{v1alpha1.AllowedAudiencesAnnotation: a.tokenURL() + "/", v1alpha1.AllowedHostsAnnotation: a.host()},
			{v1alpha1.AllowedAudiencesAnnotation: a.tokenURL(), v1alpha1.AllowedHostsAnnotation: "127.0.0.1"},
		} {
			account.Annotations = annotations
			Expect(k8s.Update(ctx, account)).To(Succeed())
			looked := w.Sent()["GET serviceaccounts"]
			w.Clock.Step(30 * time.Second)
			Eventually(func() int { return w.Requests.Snapshot()["GET serviceaccounts"] }).Should(Equal(looked + 1))
			Expect(waiting()).To(Equal(missing))
		}
		Expect(w.Sent()["POST serviceaccounts"]).To(BeZero())
		Expect(a.got()).To(BeZero())

		By("taking it up by itself once it consents")
		account.Annotations = map[string]string{v1alpha1.AllowedAudiencesAnnotation: a.tokenURL(), v1alpha1.AllowedHostsAnnotation: a.host()}
		Expect(k8s.Update(ctx, account)).To(Succeed())
		w.Clock.Step(30 * time.Second)
		w.Ready(ctx, pt)
	})

	It("is not said to be there before anybody looked", func(ctx SpecContext) {
		watcher, err := client.NewWithWatch(apiServer, client.Options{Scheme: server.Scheme})
		Expect(err).NotTo(HaveOccurred())
		pt := w.Create(ctx, w.federated(ctx, a, nil))
		watched, err := watcher.Watch(ctx, &v1alpha1.ProviderTokenList{}, client.InNamespace(w.Namespace))
		Expect(err).NotTo(HaveOccurred())
		defer watched.Stop()
		w.Operator()
		var told []metav1.ConditionStatus
		for !slices.Contains(told, metav1.ConditionFalse) {
			var e watch.Event
			Eventually(watched.ResultChan()).Should(Receive(&e))
			got, ok := e.Object.(*v1alpha1.ProviderToken)
			Expect(ok).To(BeTrue())
			if c := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.CredentialsResolvedCondition); c != nil && got.UID == pt.UID {
				told = append(told, c.Status)
			}
		}
		Expect(told).NotTo(ContainElement(metav1.ConditionTrue))
	})

	It("is waited for without a turn at the provider", func(ctx SpecContext) {
		w.Operator()
		pt := w.Create(ctx, w.federated(ctx, a, nil))
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		a.throttle()
		Expect(k8s.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "other", Annotations: map[string]string{
			v1alpha1.AllowedAudiencesAnnotation: a.tokenURL(), v1alpha1.AllowedHostsAnnotation: a.host(),
		}}})).To(Succeed())
		other := pt.DeepCopy()
		other.ObjectMeta = metav1.ObjectMeta{Namespace: w.Namespace, Name: "other"}
		other.Spec.Credentials.ServiceAccount.Name = "other"
		w.Becomes(ctx, w.Create(ctx, other), v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonThrottled)

		By("looking again although the provider wants to be left alone for an hour")
		for range 2 {
			looked := w.Sent()["GET serviceaccounts"]
			w.Clock.Step(30 * time.Second)
			Eventually(func() int { return w.Requests.Snapshot()["GET serviceaccounts"] }).Should(Equal(looked + 1))
		}
		Expect(a.got()).To(Equal(1))
	})

	It("that does not come within ten minutes needs a person", func(ctx SpecContext) {
		w.Operator()
		pt := w.Create(ctx, w.federated(ctx, a, nil))
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		Expect(w.Condition(ctx, pt, v1alpha1.StalledCondition)).To(BeNil())
		w.Clock.Step(10 * time.Minute)
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountRefused)
		w.Becomes(ctx, pt, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonServiceAccountRefused)
	})

	It("is refused from when consent is withdrawn, which is told while the token lives, and after a restart", func(ctx SpecContext) {
		account := w.account(ctx, a.tokenURL(), a.host())
		stop := w.Operator()
		pt := w.Create(ctx, w.federated(ctx, a, nil))
		got := w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		account.Annotations[v1alpha1.AllowedAudiencesAnnotation] = "another"
		Expect(k8s.Update(ctx, account)).To(Succeed())
		w.Clock.SetTime(got.Status.RefreshAt.Time)
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		Expect(w.resolved(ctx, pt)).To(ContainSubstring("the token in the Secret works until " + got.Status.Token.ExpiresAt.UTC().Format(time.RFC3339)))
		w.Ready(ctx, pt)
		Expect(a.got()).To(Equal(1))

		Eventually(w.notes).WithArguments(ctx, v1alpha1.ReasonWaitingForCredentials).Should(HaveLen(1))
		stop()
		looked := w.Sent()["GET serviceaccounts"]
		w.Operator()
		Eventually(func() int { return w.Requests.Snapshot()["GET serviceaccounts"] }).Should(Equal(looked + 1))
		testworld.StaysFor(quiet, func() metav1.ConditionStatus {
			return w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Status
		}, metav1.ConditionFalse)
		Expect(w.notes(ctx, v1alpha1.ReasonWaitingForCredentials)).To(HaveLen(1), "it is no news")
		Expect(a.got()).To(Equal(1))

		By("going on once it is given again")
		account.Annotations[v1alpha1.AllowedAudiencesAnnotation] = a.tokenURL()
		Expect(k8s.Update(ctx, account)).To(Succeed())
		old := w.Token(ctx, pt)
		w.Clock.Step(30 * time.Second)
		Eventually(func() string { return w.Token(ctx, pt) }).ShouldNot(Or(Equal(old), BeEmpty()))
	})

	It("has to be permitted also where a refresh token would do without it", func(ctx SpecContext) {
		a.refreshable = true
		account := w.account(ctx, a.tokenURL(), a.host())
		w.Operator()
		pt := w.Create(ctx, w.federated(ctx, a, nil))
		w.Ready(ctx, pt)
		w.StepToRefresh(ctx, pt)
		Expect(a.complaints()).To(BeEmpty())
		Expect(a.requests[1].Get("grant_type")).To(Equal("refresh_token"))
		Expect(k8s.Delete(ctx, account)).To(Succeed())
		w.Settle(ctx, pt)
		w.Clock.SetTime(w.Ready(ctx, pt).Status.RefreshAt.Time)
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		Expect(a.got()).To(Equal(2))
	})

	It("for an audience of the API server is not even asked for", func(ctx SpecContext) {
		w.account(ctx, "https://kubernetes.default.svc", a.host())
		w.Operator()
		pt := w.federated(ctx, a, nil)
		pt.Spec.Credentials.ServiceAccount.Audience = "https://kubernetes.default.svc"
		w.Becomes(ctx, w.Create(ctx, pt), v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountRefused)
		Expect(w.resolved(ctx, pt)).To(ContainSubstring("is the API server's"))
		Expect(w.Sent()["GET serviceaccounts"]).To(BeZero())
		Expect(a.got()).To(BeZero())
	})

	It("is thrown away when the API server turns out to accept it, and the audience is remembered", func(ctx SpecContext) {
		w.account(ctx, unlistedAudience, a.host())
		w.Operator()
		pt := w.federated(ctx, a, nil)
		pt.Spec.Credentials.ServiceAccount.Audience = unlistedAudience
		w.Becomes(ctx, w.Create(ctx, pt), v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountRefused)
		Expect(w.resolved(ctx, pt)).To(ContainSubstring("is the API server's"))
		requested := w.Sent()["POST serviceaccounts"]
		Expect(requested).To(Equal(1))

		w.Clock.Step(time.Hour)
		another := pt.DeepCopy()
		another.ObjectMeta = metav1.ObjectMeta{Namespace: w.Namespace, Name: "another"}
		w.Becomes(ctx, w.Create(ctx, another), v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountRefused)
		Expect(w.Sent()["POST serviceaccounts"]).To(Equal(requested))
		Expect(a.got()).To(BeZero(), "nothing may be sent")
	})

	It("is one of the ProviderToken's own namespace, whatever its name says", func(ctx SpecContext) {
		elsewhere := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "spec-other-"}}
		Expect(k8s.Create(ctx, elsewhere)).To(Succeed())
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere.Name, Name: "app", Annotations: map[string]string{
			v1alpha1.AllowedAudiencesAnnotation: a.tokenURL(), v1alpha1.AllowedHostsAnnotation: a.host(),
		}}}
		Expect(k8s.Create(ctx, account)).To(Succeed())
		w.Operator()
		pt := w.Create(ctx, w.federated(ctx, a, nil))
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonWaitingForCredentials)
		for i, name := range []string{elsewhere.Name + "/app", "../" + elsewhere.Name + "/app", elsewhere.Name + ":app"} {
			tricky := pt.DeepCopy()
			tricky.ObjectMeta = metav1.ObjectMeta{Namespace: w.Namespace, Name: fmt.Sprint("tricky-", i)}
			tricky.Spec.Credentials.ServiceAccount.Name = name
			w.Becomes(ctx, w.Create(ctx, tricky), v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountRefused)
		}
		Expect(w.Sent()["POST serviceaccounts"]).To(BeZero())
		Expect(a.got()).To(BeZero())
	})

	It("needs the ServiceAccount's word on the host also where a namespace wrote the endpoint, and then a public address", func(ctx SpecContext) {
		w.Guarded = true
		w.account(ctx, a.tokenURL(), a.host())
		w.Operator()
		pt := &v1alpha1.ProviderToken{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "own"},
			Spec: v1alpha1.ProviderTokenSpec{
				Provider:    &v1alpha1.ProviderDefinition{TokenURL: a.tokenURL(), CABundle: a.caBundle(), Grant: "TokenExchange", ClientAuthentication: "None"},
				Credentials: &v1alpha1.Credentials{ServiceAccount: &v1alpha1.ServiceAccountCredentials{Name: "app"}},
			},
		}
		w.Becomes(ctx, w.Create(ctx, pt), v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, v1alpha1.ReasonProviderMisconfigured)
		Expect(a.got()).To(BeZero())
	})

	It("is not given away where that is not switched on", func(ctx SpecContext) {
		w.Identities = false
		w.account(ctx, a.tokenURL(), a.host())
		w.Operator()
		pt := w.Create(ctx, w.federated(ctx, a, nil))
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountRefused)
		Expect(w.resolved(ctx, pt)).To(ContainSubstring("config/workload-identity"))
		Expect(w.Sent()["GET serviceaccounts"]).To(BeZero())
	})

	It("is of no use to a provider that wants something else", func(ctx SpecContext) {
		w.account(ctx, a.tokenURL(), a.host())
		w.Operator()
		w.Credentials(ctx, "generic", map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret})
		pt := w.Wanted("generic")
		pt.Spec.Credentials.ServiceAccount = &v1alpha1.ServiceAccountCredentials{Name: "app"}
		w.Becomes(ctx, w.Create(ctx, pt), v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonInvalidCredentials)
		Expect(w.resolved(ctx, pt)).To(ContainSubstring("remove credentials.serviceAccount"))
		Expect(w.Sim.Generic.Calls()).To(BeEmpty())
	})
})

var _ = Describe("docs/workload-identity.md", func() {
	It("shows objects that the API server accepts", func(ctx SpecContext) {
		w := newWorld(ctx)
		page, err := os.ReadFile(filepath.Join("..", "..", "docs", "workload-identity.md"))
		Expect(err).NotTo(HaveOccurred())
		shown := map[string]int{}
		for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
			for doc := range strings.SplitSeq(block[1], "\n---\n") {
				o := &unstructured.Unstructured{}
				Expect(yaml.Unmarshal([]byte(doc), &o.Object)).To(Succeed())
				if o.GetKind() == "" {
					continue // a kustomization
				}
				if o.GetKind() != "ClusterTokenProvider" {
					o.SetNamespace(w.Namespace)
				}
				Expect(k8s.Create(ctx, o, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))).To(Succeed(), doc)
				shown[o.GetKind()]++
			}
		}
		Expect(shown).To(Equal(map[string]int{"ServiceAccount": 1, "ProviderToken": 1, "ClusterTokenProvider": 3}))
	})
})

var _ = Describe("the policy for workload identity", Ordered, func() {
	var (
		w                *world
		operator, single client.Client
		own              corev1.Namespace
	)

	const manager = "providertoken-manager"

	user := func(namespace, name string) *rest.ImpersonationConfig {
		return &rest.ImpersonationConfig{
			UserName: "system:serviceaccount:" + namespace + ":" + name,
			Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		}
	}
	as := func(namespace, name string) client.Client {
		GinkgoHelper()
		cfg := rest.CopyConfig(apiServer)
		cfg.Impersonate = *user(namespace, name)
		c, err := client.New(cfg, client.Options{Scheme: server.Scheme})
		Expect(err).NotTo(HaveOccurred())
		return c
	}
	ask := func(ctx context.Context, c client.Client, namespace, name string, seconds int64, audiences ...string) error {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences, ExpirationSeconds: &seconds}}
		return c.SubResource("token").Create(ctx, account, request)
	}
	account := func(ctx context.Context, namespace, name string) {
		GinkgoHelper()
		s := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, s))).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, s))).To(Succeed()) })
	}

	BeforeAll(func(ctx SpecContext) {
		w = newWorld(ctx)
		own = corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "providertoken-system"}}
		Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, &own))).To(Succeed())
		account(ctx, w.Namespace, "app")
		account(ctx, w.Namespace, manager)
		account(ctx, "kube-system", "app")
		account(ctx, own.Name, "app")
		w.shipped(ctx, "default", "workload-identity")
		operator = as(own.Name, manager)
		// An operator of one namespace, its own: the same rules as a Role there.
		single = as(w.Namespace, manager)
		w.grant(ctx, manager,
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}},
			rbacv1.PolicyRule{APIGroups: []string{"providertoken.dev"}, Resources: []string{"providertokens/status"}, Verbs: []string{"patch"}})
		Eventually(func() error { return ask(ctx, operator, w.Namespace, "app", 600, "kubernetes") }).
			WithPolling(50 * time.Millisecond).Should(MatchError(apierrors.IsInvalid, "refused by the policy"))
		Eventually(func() error { return ask(ctx, single, w.Namespace, "app", 600, "sso") }).Should(Succeed())
	})

	DescribeTable("lets the operator ask for", func(ctx SpecContext, seconds int64, audience string) {
		Expect(ask(ctx, operator, w.Namespace, "app", seconds, audience)).To(Succeed())
	},
		Entry("a token of ten minutes", int64(600), "sso"),
		Entry("one of an hour", int64(3600), "https://sso.example/token"),
		Entry("Entra's audience", int64(600), "api://AzureADTokenExchange"),
		Entry("Google's audience", int64(600), "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k"),
		Entry("one that only looks alike", int64(600), "https://kubernetes.example/api"),
	)

	DescribeTable("refuses the operator", func(ctx SpecContext, seconds int64, message string, audiences ...string) {
		Expect(ask(ctx, operator, w.Namespace, "app", seconds, audiences...)).To(MatchError(ContainSubstring(message)))
	},
		Entry("a token of more than an hour", int64(3601), "an hour at most", "sso"),
		Entry("several audiences", int64(600), "exactly one audience", "sso", "other"),
		Entry("an empty audience", int64(600), "exactly one audience", ""),
		Entry("no audience, which means the API server's", int64(600), "exactly one audience"),
		Entry("the API server's audience", int64(600), "API server itself", "https://kubernetes.default.svc"),
		Entry("the same with a slash", int64(600), "API server itself", "https://kubernetes.default.svc/"),
		Entry("the same in capitals", int64(600), "API server itself", "HTTPS://KUBERNETES.default.svc"),
		Entry("the same in a cluster domain", int64(600), "API server itself", "https://kubernetes.default.svc.cluster.local"),
		Entry("the same without a scheme", int64(600), "API server itself", "kubernetes.default.svc:443"),
		Entry("a short name of it", int64(600), "API server itself", "api"),
	)

	It("refuses the operator the cluster's own ServiceAccounts", func(ctx SpecContext) {
		Expect(ask(ctx, operator, "kube-system", "app", 600, "sso")).To(MatchError(ContainSubstring("of the cluster itself")))
	})

	It("refuses an operator of the whole cluster its own namespace, and one of a single namespace only itself", func(ctx SpecContext) {
		Expect(ask(ctx, operator, own.Name, "app", 600, "sso")).To(MatchError(ContainSubstring("out of its own namespace")))
		Expect(ask(ctx, single, w.Namespace, "app", 600, "sso")).To(Succeed())
		Expect(ask(ctx, single, w.Namespace, manager, 600, "sso")).To(MatchError(ContainSubstring("no token of its own")))
		Expect(ask(ctx, single, w.Namespace, "app", 600, "kubernetes")).To(MatchError(ContainSubstring("API server itself")))
	})

	It("takes further audiences of the API server from who runs the cluster", func(ctx SpecContext) {
		Expect(ask(ctx, operator, w.Namespace, "app", 600, unlistedAudience)).To(Succeed())
		policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "providertoken-workload-identity"}}
		change := fmt.Sprintf(`[{"op":"test","path":"/spec/variables/0/name","value":"others"},{"op":"replace","path":"/spec/variables/0/expression","value":%q}]`,
			fmt.Sprintf("[%q]", unlistedAudience))
		Expect(k8s.Patch(ctx, policy, client.RawPatch(types.JSONPatchType, []byte(change)))).To(Succeed())
		Eventually(func() error { return ask(ctx, operator, w.Namespace, "app", 600, unlistedAudience) }).
			WithPolling(50 * time.Millisecond).Should(MatchError(ContainSubstring("API server itself")))
		Expect(ask(ctx, operator, w.Namespace, "app", 600, "sso")).To(Succeed())
	})

	It("keeps to an operator of one namespace also what somebody gave it elsewhere", func(ctx SpecContext) {
		elsewhere := newWorld(ctx)
		account(ctx, elsewhere.Namespace, "app")
		elsewhere.grantTo(ctx, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: w.Namespace, Name: manager},
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}})
		Eventually(func() error { return ask(ctx, single, elsewhere.Namespace, "app", 600, "sso") }).Should(Succeed())
		Expect(ask(ctx, single, elsewhere.Namespace, "app", 600, "kubernetes")).To(MatchError(ContainSubstring("API server itself")))
	})

	It("concerns nobody else", func(ctx SpecContext) {
		Expect(ask(ctx, k8s, w.Namespace, "app", 7200, "https://kubernetes.default.svc")).To(Succeed(), "an admin")
		w.grant(ctx, "other", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, Verbs: []string{"create"}})
		other := as(w.Namespace, "other")
		Eventually(func() error { return ask(ctx, other, w.Namespace, "app", 7200, "https://kubernetes.default.svc") }).
			Should(Succeed(), "another controller")
		w.grant(ctx, "owner",
			rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"serviceaccounts", "serviceaccounts/token"}, Verbs: []string{"create"}},
			rbacv1.PolicyRule{APIGroups: []string{"providertoken.dev"}, Resources: []string{"providertokens/status"}, Verbs: []string{"patch"}})
		owner := as(w.Namespace, "owner")
		Eventually(func() error { return ask(ctx, owner, w.Namespace, "app", 7200, "https://kubernetes.default.svc") }).
			Should(Succeed(), "one that may do everything, as a GitOps tool may")
	})

	It("is needed together with the rights, which the operator checks before it begins", func(ctx SpecContext) {
		Expect(workload.Allowed(ctx, operator, nil)).To(Succeed())
		Expect(workload.Allowed(ctx, as(w.Namespace, "nobody"), nil)).To(MatchError(workload.ErrNotAllowed))
		Expect(workload.Allowed(ctx, single, []string{w.Namespace})).To(MatchError(workload.ErrNotAllowed), "token reviews are cluster-scoped")
	})

	It("and the shipped rights are all that the operator needs", func(ctx SpecContext) {
		w.Identities = true
		w.User = user(own.Name, manager)
		a := w.newAuthority(ctx)
		var s corev1.ServiceAccount
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: "app"}, &s)).To(Succeed())
		s.Annotations = map[string]string{v1alpha1.AllowedAudiencesAnnotation: a.tokenURL(), v1alpha1.AllowedHostsAnnotation: a.host()}
		Expect(k8s.Update(ctx, &s)).To(Succeed())
		w.Operator()
		w.Ready(ctx, w.Create(ctx, w.federated(ctx, a, nil)))
		Expect(a.complaints()).To(BeEmpty())
	})

	It("and without them says what to apply", func(ctx SpecContext) {
		issuer := workload.New(as(w.Namespace, "nobody"), workload.Options{})
		err := issuer.Check(ctx, workload.Identity{Namespace: w.Namespace, Name: "app", Audience: "sso", Host: "sso.example:443"})
		Expect(err).To(MatchError(ContainSubstring("config/workload-identity")))
	})
})
