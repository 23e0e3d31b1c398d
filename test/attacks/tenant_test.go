package attacks_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/prometheus/common/expfmt"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	testworld "github.com/providertoken/operator/test/world"
)

const editorRole = "providertoken-editor"

// newTenant acts as a user who may edit ProviderTokens and TokenProviders of one
// namespace, and nothing else in the whole cluster.
func newTenant(ctx context.Context, namespace string) client.Client {
	GinkgoHelper()
	user := "tenant-of-" + namespace
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tenant"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: editorRole},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	Expect(server.Client.Create(ctx, binding)).To(Succeed())
	cfg := rest.CopyConfig(server.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: user}
	tenant, err := client.New(cfg, client.Options{Scheme: server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	Eventually(func() error { // the authorizer learns of the binding by a watch
		return tenant.List(ctx, &v1alpha1.ProviderTokenList{}, client.InNamespace(namespace))
	}).WithPolling(10 * time.Millisecond).Should(Succeed())
	return tenant
}

// ask makes a ProviderToken out of the text of its spec, as whoever c is.
func ask(ctx context.Context, c client.Client, namespace, name, spec string) (*v1alpha1.ProviderToken, error) {
	GinkgoHelper()
	pt := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	Expect(yaml.UnmarshalStrict([]byte(spec), &pt.Spec)).To(Succeed(), spec)
	return pt, c.Create(ctx, pt)
}

// secret makes a Secret as the administrator.
func secret(ctx context.Context, namespace, name, boundTo, hosts string, data map[string]string) {
	GinkgoHelper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}
	if boundTo != "" {
		s.Labels = map[string]string{v1alpha1.CredentialsForLabel: boundTo}
	}
	if hosts != "" {
		s.Annotations = map[string]string{v1alpha1.AllowedHostsAnnotation: hosts}
	}
	Expect(server.Client.Create(ctx, s)).To(Succeed())
}

// settled is what the conditions say about the latest spec of each ProviderToken of a
// namespace, once each of them has been looked at and has nothing under way: TYPE REASON: message.
func settled(ctx context.Context, namespace string) map[string]string {
	GinkgoHelper()
	said := map[string]string{}
	Eventually(func(g Gomega) {
		var list v1alpha1.ProviderTokenList
		g.Expect(server.Client.List(ctx, &list, client.InNamespace(namespace))).To(Succeed())
		for i := range list.Items {
			said[list.Items[i].Name] = verdict(g, &list.Items[i])
		}
	}).WithTimeout(time.Minute).WithPolling(50 * time.Millisecond).Should(Succeed())
	return said
}

// verdict is the condition that says what is wrong, or Ready.
func verdict(g Gomega, pt *v1alpha1.ProviderToken) string {
	g.Expect(pt.Status.ObservedGeneration).To(Equal(pt.Generation), pt.Name)
	if meta.IsStatusConditionTrue(pt.Status.Conditions, v1alpha1.ReadyCondition) {
		return v1alpha1.ReadyCondition
	}
	for _, kind := range []string{v1alpha1.CredentialsResolvedCondition, v1alpha1.SecretPublishedCondition, v1alpha1.TokenIssuedCondition} {
		if c := meta.FindStatusCondition(pt.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionFalse {
			return kind + " " + c.Reason + ": " + c.Message
		}
	}
	g.Expect(pt.Name).To(BeEmpty(), "no verdict yet")
	return ""
}

// told is everything that the operator says anywhere but in Secrets: status and
// events of all namespaces of w, metrics, and what any operator logged since the mark.
func told(ctx context.Context, w *testworld.World, since int) string {
	GinkgoHelper()
	var all bytes.Buffer
	for _, namespace := range w.Served() {
		var tokens v1alpha1.ProviderTokenList
		Expect(server.Client.List(ctx, &tokens, client.InNamespace(namespace))).To(Succeed())
		for i := range tokens.Items {
			text, err := yaml.Marshal(tokens.Items[i].Status)
			Expect(err).NotTo(HaveOccurred())
			all.Write(text)
		}
		var events eventsv1.EventList
		Expect(server.Client.List(ctx, &events, client.InNamespace(namespace))).To(Succeed())
		for i := range events.Items {
			fmt.Fprintln(&all, events.Items[i].Reason, events.Items[i].Action, events.Items[i].Note)
		}
		var records corev1.ConfigMapList
		Expect(server.Client.List(ctx, &records, client.InNamespace(namespace))).To(Succeed())
		for i := range records.Items {
			if records.Items[i].Name != "kube-root-ca.crt" {
				fmt.Fprintln(&all, records.Items[i].Annotations, records.Items[i].Data)
			}
		}
	}
	families, err := w.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&all, f)
		Expect(err).NotTo(HaveOccurred())
	}
	all.WriteString(logs.since(since))
	return all.String()
}

// journal keeps what is written to it.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// mark is where the journal ends now.
func (j *journal) mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Len()
}

func (j *journal) since(mark int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()[mark:]
}

// visits notes what an operator asks the API server for: "GET /api/v1/…".
type visits struct {
	mu   sync.Mutex
	seen map[string]int
}

func (v *visits) wrap(next http.RoundTripper) http.RoundTripper {
	return testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
		v.mu.Lock()
		if v.seen == nil {
			v.seen = map[string]int{}
		}
		v.seen[r.Method+" "+r.URL.Path]++
		v.mu.Unlock()
		return next.RoundTrip(r)
	})
}

func (v *visits) all() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.seen))
}

// unchanged asserts that Secrets are, byte for byte, what they were.
func unchanged(ctx context.Context, secrets ...*corev1.Secret) {
	GinkgoHelper()
	for _, s := range secrets {
		var now corev1.Secret
		Expect(server.Client.Get(ctx, client.ObjectKeyFromObject(s), &now)).To(Succeed())
		Expect(now.ResourceVersion).To(Equal(s.ResourceVersion), "Secret %s was written", s.Name)
	}
}

// decode reads the text of a spec, strictly.
func decode(text string, into any) {
	GinkgoHelper()
	Expect(yaml.UnmarshalStrict([]byte(text), into)).To(Succeed(), text)
}

// lines are those of a text that hold one of the words.
func lines(text string, words ...string) []string {
	var found []string
	for line := range strings.SplitSeq(text, "\n") {
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(line, word) }) {
			found = append(found, line[:min(len(line), 300)])
		}
	}
	return found
}
