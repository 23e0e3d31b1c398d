package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/metrics"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
)

const (
	patience = 10 * time.Second
	soon     = time.Minute // real time
	polling  = 20 * time.Millisecond
	testdata = "../../test/gitops/testdata"
)

// opening is the instant at which every play begins. It is far away, because
// Argo CD's health check compares a token's expiry with the machine's clock: what
// lives here must still live when it is judged.
func opening() time.Time { return time.Date(2100, time.January, 1, 12, 0, 0, 0, time.UTC) }

// stage is what one state is played on: a namespace, providers, a clock that
// stands still, and an operator that can be stopped.
type stage struct {
	namespace string
	clock     *clocktesting.FakeClock
	sim       *providersim.Simulator
}

func newStage(ctx context.Context) *stage {
	GinkgoHelper()
	s := &stage{clock: clocktesting.NewFakeClock(opening())}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "state-"}}
	Expect(k8s.Create(ctx, ns)).To(Succeed())
	s.namespace = ns.Name
	var err error
	s.sim, err = providersim.Start(providersim.Options{Now: s.clock.Now})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(s.sim.Close)
	return s
}

// operator runs until the returned function is called (or the spec ends).
func (s *stage) operator() (stop func()) {
	GinkgoHelper()
	caches, err := controller.CacheOptions([]string{s.namespace}, nil)
	Expect(err).NotTo(HaveOccurred())
	mgr, err := ctrl.NewManager(apiServer, ctrl.Options{
		Scheme: scheme, Cache: caches,
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	Expect(err).NotTo(HaveOccurred())
	catalog, err := provider.Builtin()
	Expect(err).NotTo(HaveOccurred())
	exchanger, err := exchange.New(exchange.Options{
		UserAgent: "states", Clock: s.clock, Timeout: patience,
		AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	Expect(err).NotTo(HaveOccurred())
	counters, err := metrics.New(prometheus.NewRegistry())
	Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(context.Background())
	_, err = controller.Setup(ctx, mgr, controller.Parts{
		Config: apiServer, Live: k8s, Namespaces: []string{s.namespace}, OperatorNamespace: s.namespace,
		Catalog: catalog, Exchanger: exchanger, Clock: s.clock, Metrics: counters,
		Options: controller.Options{InlineProviders: true, ClusterProviders: true, MaxConcurrentReconciles: 1},
	})
	Expect(err).NotTo(HaveOccurred())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		var err error
		Eventually(done).WithTimeout(soon).Should(Receive(&err))
		Expect(err).NotTo(HaveOccurred())
	})
	DeferCleanup(stop)
	Expect(mgr.GetCache().WaitForCacheSync(ctx)).To(BeTrue())
	return stop
}

// provider makes a ClusterTokenProvider of that catalog entry at the simulator.
func (s *stage) provider(ctx context.Context, base, tokenURL string) {
	GinkgoHelper()
	p := &v1alpha1.ClusterTokenProvider{
		ObjectMeta: metav1.ObjectMeta{Name: s.sso()},
		Spec:       v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{Base: base, TokenURL: tokenURL, CABundle: s.sim.CABundle()}},
	}
	Expect(k8s.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, p))).To(Succeed()) })
}

func (s *stage) plantPredict(ctx context.Context) {
	GinkgoHelper()
	s.provider(ctx, "PlantPredict", s.sim.PlantPredict.TokenURL())
}

func (s *stage) up42(ctx context.Context) {
	GinkgoHelper()
	s.provider(ctx, "UP42", s.sim.UP42.TokenURL())
}

// sso is the name of the ClusterTokenProvider of this stage.
func (s *stage) sso() string { return "sso-" + s.namespace }

func (s *stage) secret(data map[string]string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.namespace, Name: "login",
			Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + s.sso()},
		},
		StringData: data,
	}
}

func clientCredentials() map[string]string {
	return map[string]string{"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret}
}

func login(password string) map[string]string {
	return map[string]string{"username": providersim.UP42Username, "password": password}
}

func (s *stage) credentials(ctx context.Context, data map[string]string) {
	GinkgoHelper()
	Expect(k8s.Create(ctx, s.secret(data))).To(Succeed())
}

func (s *stage) token(ctx context.Context, changes ...func(*v1alpha1.ProviderToken)) *v1alpha1.ProviderToken {
	GinkgoHelper()
	pt := &v1alpha1.ProviderToken{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ProviderToken"},
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "reports"},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: s.sso()},
			Credentials: &v1alpha1.Credentials{SecretName: "login"},
		},
	}
	for _, change := range changes {
		change(pt)
	}
	Expect(k8s.Create(ctx, pt)).To(Succeed())
	return pt
}

func suspended(pt *v1alpha1.ProviderToken) { pt.Spec.Suspend = true }

func narrower(pt *v1alpha1.ProviderToken) {
	pt.Spec.Scopes = []v1alpha1.Scope{"https://plantpredict.example/read"}
}

func (s *stage) edit(ctx context.Context, pt *v1alpha1.ProviderToken, change func(*v1alpha1.ProviderToken)) {
	GinkgoHelper()
	var got v1alpha1.ProviderToken
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
	edited := got.DeepCopy()
	change(edited)
	Expect(k8s.Patch(ctx, edited, client.MergeFrom(&got))).To(Succeed())
}

// becomes waits for a condition about this generation.
func (s *stage) becomes(ctx context.Context, pt *v1alpha1.ProviderToken, kind string, status metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	var got v1alpha1.ProviderToken
	Eventually(func(g Gomega) {
		g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
		c := meta.FindStatusCondition(got.Status.Conditions, kind)
		g.Expect(c).NotTo(BeNil(), kind)
		g.Expect([]string{string(c.Status), c.Reason}).To(Equal([]string{string(status), reason}), c.Message)
		g.Expect(c.ObservedGeneration).To(Equal(got.Generation))
	}).WithTimeout(soon).WithPolling(polling).Should(Succeed())
}

func (s *stage) ready(ctx context.Context, pt *v1alpha1.ProviderToken) {
	GinkgoHelper()
	s.becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

// fails lets the refresh fail that is due by then, while the token lives. The
// instant is later than any jitter, so that every run writes the same.
func (s *stage) fails(ctx context.Context, pt *v1alpha1.ProviderToken, after time.Duration, reason string) {
	GinkgoHelper()
	s.clock.SetTime(opening().Add(after))
	s.becomes(ctx, pt, v1alpha1.TokenIssuedCondition, metav1.ConditionFalse, reason)
}

// says waits until the failure's message tells that.
func (s *stage) says(ctx context.Context, pt *v1alpha1.ProviderToken, text string) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var got v1alpha1.ProviderToken
		g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
		c := meta.FindStatusCondition(got.Status.Conditions, v1alpha1.TokenIssuedCondition)
		g.Expect(c.Message).To(ContainSubstring(text))
	}).WithTimeout(soon).WithPolling(polling).Should(Succeed())
}

// expires moves the clock to the end of the token's life.
func (s *stage) expires(ctx context.Context, pt *v1alpha1.ProviderToken) {
	GinkgoHelper()
	var got v1alpha1.ProviderToken
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
	s.clock.SetTime(got.Status.Token.ExpiresAt.Time)
	s.becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
}

// matches compares the object, as the API server has it, with a file, or writes it.
func (s *stage) matches(ctx context.Context, o client.Object, kind, file string) {
	GinkgoHelper()
	content := &unstructured.Unstructured{}
	gvk, err := k8s.GroupVersionKindFor(o)
	Expect(err).NotTo(HaveOccurred())
	content.SetGroupVersionKind(gvk)
	Expect(gvk.Kind).To(Equal(kind))
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(o), content)).To(Succeed())
	got := s.printed(content)
	path := filepath.Join(testdata, file)
	if *update {
		Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		Expect(os.WriteFile(path, []byte(got), 0o644)).To(Succeed())
		return
	}
	want, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred())
	Expect(got).To(Equal(string(want)), "the operator writes something else by now: run go test ./hack/argocd -update, and see what test/gitops says to it")
}

// printed is the object without what differs from run to run: names of the
// stage, ports, identifiers, the jitter of the planned refresh, and token values.
func (s *stage) printed(o *unstructured.Unstructured) string {
	GinkgoHelper()
	o.SetUID("5e9f2f60-0000-4000-8000-000000000001")
	o.SetResourceVersion("1")
	o.SetManagedFields(nil)
	o.SetCreationTimestamp(metav1.NewTime(opening()))
	owners := o.GetOwnerReferences()
	for i := range owners {
		owners[i].UID = "5e9f2f60-0000-4000-8000-000000000001"
	}
	o.SetOwnerReferences(owners)
	steady(o)
	if o.GetKind() == "Secret" {
		s.veil(o)
	}
	text, err := json.Marshal(o.Object)
	Expect(err).NotTo(HaveOccurred())
	plain := strings.NewReplacer("-"+s.namespace, "", s.namespace, "team").Replace(string(text))
	plain = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(plain, "sso.example.com:443")
	printed, err := yaml.JSONToYAML([]byte(plain))
	Expect(err).NotTo(HaveOccurred())
	return string(printed)
}

// steady takes the jitter out of the planned refresh, which depends on the UID:
// it is put at two thirds of the token's life.
func steady(o *unstructured.Unstructured) {
	GinkgoHelper()
	if _, found, _ := unstructured.NestedString(o.Object, "status", "refreshAt"); !found {
		return
	}
	issued, expires := instant(o, "issuedAt"), instant(o, "expiresAt")
	at := issued.Add(expires.Sub(issued) * 2 / 3).Format(time.RFC3339)
	Expect(unstructured.SetNestedField(o.Object, at, "status", "refreshAt")).To(Succeed())
}

func instant(o *unstructured.Unstructured, field string) time.Time {
	GinkgoHelper()
	text, _, err := unstructured.NestedString(o.Object, "status", "token", field)
	Expect(err).NotTo(HaveOccurred())
	at, err := time.Parse(time.RFC3339, text)
	Expect(err).NotTo(HaveOccurred())
	return at
}

func (s *stage) veil(o *unstructured.Unstructured) {
	var secret corev1.Secret
	Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &secret)).To(Succeed())
	for key := range secret.Data {
		secret.Data[key] = []byte("veiled")
	}
	secret.UID = "5e9f2f60-0000-4000-8000-000000000002"
	for _, key := range []string{v1alpha1.ContentHashAnnotation, v1alpha1.InputsAnnotation, v1alpha1.RefreshAtAnnotation} {
		secret.Annotations[key] = "veiled"
	}
	var err error
	o.Object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(&secret)
	Expect(err).NotTo(HaveOccurred())
}
