package privilege_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// oldServer makes a client list before it watches, as it does where the API server cannot
// stream lists (Kubernetes 1.31, and newer ones that have this switched off).
const oldServer = "KUBE_FEATURE_WatchListClient=false"

// Each install that ships runs once, with its ServiceAccount's own token, and does all
// that it does. The API server's audit log tells in the end what nobody needed.
var _ = Describe("the rights that ship", Ordered, func() {
	var (
		sim   *providersim.Simulator
		books ledger
	)

	BeforeAll(func(ctx SpecContext) {
		books = newLedger()
		var err error
		sim, err = providersim.Start(providersim.Options{})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(sim.Close)
		for _, name := range []string{"team-a", "team-b", "team-z", "own", "app", "providertoken-system"} {
			newNamespace(ctx, name, nil)
		}
	})

	// settled ends an operator and books what it did.
	settled := func(name string, install objects, o *operator, before int) {
		GinkgoHelper()
		o.stop()
		refused := books.book(name, install.grantsTo(o.namespace), requestsOf(o.namespace)[before:])
		Expect(refused).To(BeEmpty(), "the operator had no right to these")
	}

	// loggedIn makes a login at UP42, by a definition of its own namespace.
	loggedIn := func(ctx context.Context, namespace string) *v1alpha1.ProviderToken {
		GinkgoHelper()
		def := v1alpha1.ProviderDefinition{Base: "UP42", TokenURL: sim.UP42.TokenURL(), CABundleRef: &v1alpha1.ConfigMapKeyReference{Name: "ca"}}
		create(ctx,
			&corev1.ConfigMap{ObjectMeta: in(namespace, "ca", map[string]string{v1alpha1.CABundleLabel: "true"}), Data: map[string]string{"ca.crt": sim.CABundle()}},
			&v1alpha1.TokenProvider{ObjectMeta: in(namespace, "up42", nil), Spec: def},
			bound(in(namespace, "login", map[string]string{v1alpha1.CredentialsForLabel: "TokenProvider.up42"}), sim.UP42.Address(),
				map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password}))
		pt := &v1alpha1.ProviderToken{ObjectMeta: in(namespace, "up42", nil), Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.NamespacedProvider, Name: "up42"},
			Credentials: &v1alpha1.Credentials{SecretName: "login"},
		}}
		create(ctx, pt)
		return pt
	}

	It("are enough for a list of namespaces, and reach no other", func(ctx SpecContext) {
		install := overlay(ctx, "resources: [CONFIG/several-namespaces]")
		Expect(each[rbacv1.ClusterRoleBinding](install, "ClusterRoleBinding")).To(BeEmpty())
		install.apply(ctx)
		o := run(ctx, install, oldServer)
		elsewhere := loggedIn(ctx, "team-z")
		for _, namespace := range []string{"team-a", "team-b"} {
			ready(ctx, loggedIn(ctx, namespace))
		}
		refresh(ctx, "team-a", "up42")
		disowned(ctx, "team-a", "up42")
		notServed(ctx, elsewhere)
		holdsNothingIn(ctx, o.namespace, "team-z")
		settled("list of namespaces", install, o, 0)
		for _, r := range requestsOf(o.namespace) {
			Expect(r.RequestURI).NotTo(ContainSubstring("team-z"))
		}
	})

	It("are enough for one namespace, and reach no other", func(ctx SpecContext) {
		install := overlay(ctx, "namespace: own\nresources: [CONFIG/namespaced]")
		Expect(each[rbacv1.ClusterRoleBinding](install, "ClusterRoleBinding")).To(BeEmpty())
		install.apply(ctx)
		o := run(ctx, install)
		ready(ctx, loggedIn(ctx, "own"))
		notServed(ctx, &v1alpha1.ProviderToken{ObjectMeta: in("team-z", "up42", nil)})
		holdsNothingIn(ctx, o.namespace, "team-z")
		settled("one namespace", install, o, 0)
	})

	It("are enough for workload identity in one namespace", func(ctx SpecContext) {
		// As docs/workload-identity.md shows it.
		install := overlay(ctx, `
namespace: own
resources: [CONFIG/namespaced]
components: [CONFIG/workload-identity]
patches:
- target: {kind: ClusterRole, name: providertoken-workload-identity}
  options: {allowKindChange: true}
  patch: |-
    - {op: replace, path: /kind, value: Role}
- target: {kind: ClusterRoleBinding, name: providertoken-workload-identity}
  options: {allowKindChange: true}
  patch: |-
    - {op: replace, path: /kind, value: RoleBinding}
    - {op: replace, path: /roleRef/kind, value: Role}
    - {op: replace, path: /subjects/0/namespace, value: own}
- target: {kind: ClusterRoleBinding, name: providertoken-workload-identity-reviewer}
  patch: |-
    - {op: replace, path: /subjects/0/namespace, value: own}
`)
		before := len(requestsOf("own"))
		install.apply(ctx)
		inForce(ctx, "own", &authorizationv1.ResourceAttributes{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"})
		inForce(ctx, "own", &authorizationv1.ResourceAttributes{Namespace: "own", Verb: "create", Resource: "serviceaccounts", Subresource: "token"})
		o := run(ctx, install)
		ready(ctx, federated(ctx, "own"))
		settled("workload identity", install, o, before)
	})

	It("are enough for a whole cluster, with propagation and metrics", func(ctx SpecContext) {
		install := overlay(ctx, "resources: [CONFIG/default]\ncomponents: [CONFIG/propagation]")
		before := len(requestsOf("providertoken-system"))
		install.apply(ctx)
		inForce(ctx, "providertoken-system", &authorizationv1.ResourceAttributes{Verb: "patch", Resource: "pods", Subresource: "status"})
		o := run(ctx, install)

		def := v1alpha1.ProviderDefinition{Base: "PlantPredict", TokenURL: sim.PlantPredict.TokenURL(), CABundleRef: &v1alpha1.ConfigMapKeyReference{Namespace: "app", Name: "corp-ca"}}
		create(ctx,
			&corev1.ConfigMap{ObjectMeta: in("app", "corp-ca", map[string]string{v1alpha1.CABundleLabel: "true"}), Data: map[string]string{"ca.crt": sim.CABundle()}},
			&v1alpha1.ClusterTokenProvider{ObjectMeta: in("", "corp", nil), Spec: v1alpha1.ClusterTokenProviderSpec{
				ProviderDefinition: def,
				Credentials:        &v1alpha1.PlatformCredentials{Namespace: "app", SecretName: "corp"},
				Allow:              &v1alpha1.Allow{Namespaces: v1alpha1.AllowedNamespaces{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"tokens": "corp"}}}},
			}},
			bound(in("app", "corp", map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider.corp"}), "",
				map[string]string{"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret}))
		pt := &v1alpha1.ProviderToken{ObjectMeta: in("app", "corp-token", nil), Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: "corp"},
		}}
		create(ctx, pt)
		becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse)
		// The label of a namespace is what lets it.
		Expect(k8s.Patch(ctx, &corev1.Namespace{ObjectMeta: in("", "app", nil)}, merge(`{"metadata":{"labels":{"tokens":"corp"}}}`))).To(Succeed())
		ready(ctx, pt)
		ready(ctx, loggedIn(ctx, "app"))

		pod := running(ctx, "app", "reader", "corp-token")
		refresh(ctx, "app", "corp-token")
		Eventually(func() bool { // the same event again, of an object that has not changed in between
			spoilt(ctx, "app", "corp-token")
			var events eventsv1.EventList
			Expect(k8s.List(ctx, &events, client.InNamespace("app"))).To(Succeed())
			return slices.ContainsFunc(events.Items, func(e eventsv1.Event) bool { return e.Series != nil })
		}).WithTimeout(patience).WithPolling(polling).Should(BeTrue())
		Eventually(func() string {
			var got corev1.Pod
			Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pod), &got)).To(Succeed())
			return got.Annotations[v1alpha1.ToldAnnotation]
		}).WithTimeout(patience).WithPolling(polling).ShouldNot(BeEmpty())

		scraped(ctx, o)
		o.stop()
		// Again, with an API server that cannot stream lists.
		o = run(ctx, install, oldServer)
		refresh(ctx, "app", "corp-token")
		settled("whole cluster", install, o, before)
	})

	It("are enough to clear old records of logins", func(ctx SpecContext) {
		// A month passes for an operator with a clock of its own.
		w := testworld.New(ctx, server)
		create(ctx, &corev1.ConfigMap{ObjectMeta: in(w.Namespace, "login-old", map[string]string{"providertoken.dev/login-record": "true"})})
		w.Clock.Step(31 * 24 * time.Hour)
		stop := w.Operator()
		Eventually(func() error {
			return k8s.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: "login-old"}, &corev1.ConfigMap{})
		}).WithTimeout(patience).WithPolling(polling).ShouldNot(Succeed())
		stop()
		own := overlay(ctx, "namespace: "+w.Namespace+"\nresources: [CONFIG/several-namespaces/operator]\n")
		books.book("old records", own.grantsTo(w.Namespace), requestsOf(w.Namespace))
	})

	It("are all needed", func() {
		AddReportEntry("rights, and which install needed each", books.table())
		Expect(len(books.granted)).To(BeNumerically(">=", 35))
		Expect(books.unused()).To(BeEmpty(), "nothing needed these: remove them, or let a spec above show what for")
	})
})

var _ = Describe("the admin of a namespace", func() {
	It("may install the operator there once a cluster's admin lets them grant its rights", func(ctx SpecContext) {
		newNamespace(ctx, "admins", nil)
		install := overlay(ctx, "namespace: admins\nresources: [CONFIG/namespaced]")
		bind := func(role string) {
			create(ctx, &rbacv1.RoleBinding{
				ObjectMeta: in("admins", strings.ReplaceAll(role, ":", "-"), nil),
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "admin-of-admins"}},
			})
		}
		// What a controller, which does not run here, makes the ClusterRole admin of.
		for _, role := range each[rbacv1.ClusterRole](overlay(ctx, "namePrefix: providertoken-\nresources: [CONFIG/users]"), "ClusterRole") {
			if role.Labels["rbac.authorization.k8s.io/aggregate-to-admin"] == "true" {
				role.Name = "part-of-" + role.Name
				create(ctx, &role)
				bind(role.Name)
			}
		}
		for _, part := range []string{"view", "edit", "admin"} {
			bind("system:aggregate-to-" + part)
		}
		allowed(ctx, "admin-of-admins", &authorizationv1.ResourceAttributes{Namespace: "admins", Verb: "create", Group: rbacv1.GroupName, Resource: "roles"})
		err := install.applyAs(ctx, "admin-of-admins")
		Expect(err).To(MatchError(ContainSubstring("attempting to grant RBAC permissions not currently held")))
		Expect(err).NotTo(MatchError(ContainSubstring("cannot ")), "only the rights are missing")

		text, err := os.ReadFile(filepath.Join(testworld.Root(), "config", "namespaced", "grantor_role.yaml"))
		Expect(err).NotTo(HaveOccurred())
		grantor := only[rbacv1.ClusterRole](decode(string(text)), "ClusterRole")
		Expect(grantor.Labels).To(HaveKeyWithValue("rbac.authorization.k8s.io/aggregate-to-admin", "true"))
		create(ctx, &grantor)
		bind(grantor.Name)
		allowed(ctx, "admin-of-admins", &authorizationv1.ResourceAttributes{Namespace: "admins", Verb: "patch", Group: "providertoken.dev", Resource: "providertokens", Subresource: "status"})
		Expect(install.applyAs(ctx, "admin-of-admins")).To(Succeed())
	})
})

func in(namespace, name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}
}

func create(ctx context.Context, all ...client.Object) {
	GinkgoHelper()
	for _, o := range all {
		Expect(k8s.Create(ctx, o)).To(Succeed())
		if o.GetNamespace() == "" {
			DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, o))).To(Succeed()) })
		}
	}
}

// bound is a credential Secret that allows a host.
func bound(which metav1.ObjectMeta, host string, data map[string]string) *corev1.Secret {
	if host != "" {
		which.Annotations = map[string]string{v1alpha1.AllowedHostsAnnotation: host}
	}
	return &corev1.Secret{ObjectMeta: which, StringData: data}
}

func merge(patch string) client.Patch {
	return client.RawPatch("application/merge-patch+json", []byte(patch))
}

func becomes(ctx context.Context, pt *v1alpha1.ProviderToken, kind string, status metav1.ConditionStatus) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		var got v1alpha1.ProviderToken
		g.Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
		c := meta.FindStatusCondition(got.Status.Conditions, kind)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Status).To(Equal(status), fmt.Sprint(got.Status.Conditions))
	}).WithTimeout(patience).WithPolling(polling).Should(Succeed())
}

func ready(ctx context.Context, pt *v1alpha1.ProviderToken) {
	GinkgoHelper()
	becomes(ctx, pt, v1alpha1.ReadyCondition, metav1.ConditionTrue)
}

// refresh asks for another token, and waits for it.
func refresh(ctx context.Context, namespace, name string) {
	GinkgoHelper()
	token := func() string {
		var s corev1.Secret
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s)).To(Succeed())
		return string(s.Data["token"])
	}
	before := token()
	asked := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RefreshRequestedAtAnnotation, before[:8]+time.Now().String())
	Expect(k8s.Patch(ctx, &v1alpha1.ProviderToken{ObjectMeta: in(namespace, name, nil)}, merge(asked))).To(Succeed())
	Eventually(token).WithTimeout(patience).WithPolling(polling).ShouldNot(Equal(before))
}

// spoilt adds a key to a target, and waits until it is gone.
func spoilt(ctx context.Context, namespace, name string) {
	GinkgoHelper()
	target := &corev1.Secret{ObjectMeta: in(namespace, name, nil)}
	Expect(k8s.Patch(ctx, target, merge(`{"data":{"spoilt":"eA=="}}`))).To(Succeed())
	Eventually(func() map[string][]byte {
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(target), target)).To(Succeed())
		return target.Data
	}).WithTimeout(patience).WithPolling(polling).ShouldNot(HaveKey("spoilt"))
}

// disowned takes the owner reference from a target, and waits until it is back.
func disowned(ctx context.Context, namespace, name string) {
	GinkgoHelper()
	target := &corev1.Secret{ObjectMeta: in(namespace, name, nil)}
	Expect(k8s.Patch(ctx, target, merge(`{"metadata":{"ownerReferences":null}}`))).To(Succeed())
	Eventually(func() []metav1.OwnerReference {
		Expect(k8s.Get(ctx, client.ObjectKeyFromObject(target), target)).To(Succeed())
		return target.OwnerReferences
	}).WithTimeout(patience).WithPolling(polling).ShouldNot(BeEmpty())
}

// notServed asserts that nobody took notice of pt while others became ready.
func notServed(ctx context.Context, pt *v1alpha1.ProviderToken) {
	GinkgoHelper()
	var got v1alpha1.ProviderToken
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &got)).To(Succeed())
	Expect(got.Status.Conditions).To(BeEmpty())
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(pt), &corev1.Secret{})).NotTo(Succeed(), "no target")
}

// holdsNothingIn asserts that the operator may do no more in another namespace than
// anybody who has a token at all, which includes what is in no namespace.
func holdsNothingIn(ctx context.Context, namespace, elsewhere string) {
	GinkgoHelper()
	rules := func(from, name string) authorizationv1.SubjectRulesReviewStatus {
		c, err := client.New(as(tokenOf(ctx, from, name)), client.Options{Scheme: server.Scheme})
		Expect(err).NotTo(HaveOccurred())
		review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: elsewhere}}
		Expect(c.Create(ctx, review)).To(Succeed())
		return review.Status
	}
	nobody := &corev1.ServiceAccount{ObjectMeta: in(elsewhere, "nobody", nil)}
	Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, nobody))).To(Succeed())
	held, anybody := rules(namespace, account), rules(elsewhere, "nobody")
	Expect(held.ResourceRules).To(ConsistOf(anybody.ResourceRules))
	Expect(held.NonResourceRules).To(ConsistOf(anybody.NonResourceRules))
	Expect(anybody.ResourceRules).NotTo(BeEmpty(), "the API server resolves rules at all")
}

// inForce waits until the API server has seen the bindings of an operator.
func inForce(ctx context.Context, namespace string, right *authorizationv1.ResourceAttributes) {
	GinkgoHelper()
	allowed(ctx, "system:serviceaccount:"+namespace+":"+account, right)
}

// allowed waits until the API server lets somebody do something.
func allowed(ctx context.Context, name string, right *authorizationv1.ResourceAttributes) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: name, ResourceAttributes: right}}
		g.Expect(k8s.Create(ctx, review)).To(Succeed())
		g.Expect(review.Status.Allowed).To(BeTrue())
	}).WithTimeout(patience).WithPolling(polling).Should(Succeed())
}

// running is a pod that mounts a Secret and wants to be told.
func running(ctx context.Context, namespace, name, secret string) *corev1.Pod {
	GinkgoHelper()
	Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, &corev1.ServiceAccount{ObjectMeta: in(namespace, "default", nil)}))).To(Succeed())
	pod := &corev1.Pod{
		ObjectMeta: in(namespace, name, map[string]string{v1alpha1.MountsLabel: ""}),
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken: new(false), ServiceAccountName: "default", NodeName: "node",
			Containers: []corev1.Container{{Name: "main", Image: "none", VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: "/token"}}}},
			Volumes:    []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}},
		},
	}
	create(ctx, pod)
	now := metav1.Now()
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now}
	Expect(k8s.Status().Update(ctx, pod)).To(Succeed())
	return pod
}

// federated wants a token for that of a ServiceAccount.
func federated(ctx context.Context, namespace string) *v1alpha1.ProviderToken {
	GinkgoHelper()
	sts := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Count(r.FormValue("subject_token"), ".") != 2 {
			http.Error(w, "no token", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token-by-federation-93d1", "token_type": "Bearer", "expires_in": 3600, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})
	}))
	DeferCleanup(sts.Close)
	url := sts.URL + "/token"
	create(ctx,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app", Annotations: map[string]string{
			v1alpha1.AllowedAudiencesAnnotation: url, v1alpha1.AllowedHostsAnnotation: strings.TrimPrefix(sts.URL, "https://"),
		}}},
		&v1alpha1.TokenProvider{ObjectMeta: in(namespace, "sts", nil), Spec: v1alpha1.ProviderDefinition{
			TokenURL: url, Grant: "TokenExchange", ClientAuthentication: "None",
			CABundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sts.Certificate().Raw})),
		}})
	pt := &v1alpha1.ProviderToken{ObjectMeta: in(namespace, "federated", nil), Spec: v1alpha1.ProviderTokenSpec{
		ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.NamespacedProvider, Name: "sts"},
		Credentials: &v1alpha1.Credentials{ServiceAccount: &v1alpha1.ServiceAccountCredentials{Name: "app"}},
	}}
	create(ctx, pt)
	return pt
}

// scraped reads the metrics as who may, and fails to as who may not.
func scraped(ctx context.Context, o *operator) {
	GinkgoHelper()
	create(ctx,
		&corev1.ServiceAccount{ObjectMeta: in("app", "prometheus", nil)},
		&corev1.ServiceAccount{ObjectMeta: in("app", "curious", nil)},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: in("", "scraper", nil),
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "providertoken-metrics-reader"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "app", Name: "prometheus"}},
		})
	Eventually(func(g Gomega) {
		status, body := o.scrape(ctx, tokenOf(ctx, "app", "prometheus"))
		g.Expect(status).To(Equal(http.StatusOK), body)
		g.Expect(body).To(ContainSubstring("providertoken_"))
		g.Expect(body).To(ContainSubstring("go_gc_gogc_percent 50"), "process.Collect")
	}).WithTimeout(patience).WithPolling(polling).Should(Succeed())
	status, _ := o.scrape(ctx, tokenOf(ctx, "app", "curious"))
	Expect(status).To(Equal(http.StatusForbidden))
	status, _ = o.scrape(ctx, "")
	Expect(status).To(Equal(http.StatusUnauthorized))
}
