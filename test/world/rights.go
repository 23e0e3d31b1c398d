package world

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// manager is the name of the operator's ServiceAccount.
const manager = "providertoken-manager"

// The groups of an operator, each bound to what ships for one of its jobs, so that one
// binding a suite is enough. What it keeps in its own namespace is bound in each world.
const (
	operators    = "specs:operators"
	propagators  = "specs:propagation"
	identified   = "specs:workload-identity"
	ownNamespace = "specs:own-namespace"
)

// bindingPatience is how long the API server may take until it has seen a binding.
const bindingPatience = 30 * time.Second

// shipped are the roles that ship, and who has them.
func shipped() map[string]string {
	return map[string]string{
		"config/rbac/role.yaml":                       operators,
		"config/rbac/cluster_role.yaml":               operators,
		"config/rbac/own_namespace_role.yaml":         "",
		"config/propagation/role.yaml":                propagators,
		"config/workload-identity/role.yaml":          identified,
		"config/workload-identity/reviewer_role.yaml": identified,
	}
}

// grantShipped makes the roles that ship, once a suite.
func (s *Server) grantShipped(ctx context.Context) {
	GinkgoHelper()
	s.granted.Do(func() {
		for file, group := range shipped() {
			data, err := os.ReadFile(filepath.Join(Root(), filepath.FromSlash(file)))
			Expect(err).NotTo(HaveOccurred())
			var role rbacv1.ClusterRole // a Role reads the same
			Expect(yaml.Unmarshal(data, &role)).To(Succeed())
			Expect(role.Rules).NotTo(BeEmpty(), file)
			meta := metav1.ObjectMeta{Name: "specs:" + strings.TrimPrefix(role.Name, "providertoken-")}
			if group == "" {
				meta.Name = ownNamespace
			}
			Expect(s.Client.Create(ctx, &rbacv1.ClusterRole{ObjectMeta: meta, Rules: role.Rules})).To(Succeed())
			if group == "" {
				continue
			}
			Expect(s.Client.Create(ctx, &rbacv1.ClusterRoleBinding{
				ObjectMeta: meta,
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: group}},
			})).To(Succeed())
		}
	})
}

// operatorUser is who an operator of this world is: a ServiceAccount with the rights
// that ship for what is switched on, and no others. It returns when these are in force.
func (w *World) operatorUser(ctx context.Context) *rest.ImpersonationConfig {
	GinkgoHelper()
	w.Server.grantShipped(ctx)
	if !w.bound {
		w.bound = true
		Expect(w.Server.Client.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "specs-own-namespace"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ownNamespace},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.Namespace, Name: manager}},
		})).To(Succeed())
	}
	user := &rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + w.Namespace + ":" + manager,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + w.Namespace, "system:authenticated", operators},
	}
	// The last right that each of its roles brings.
	wanted := []authorizationv1.ResourceAttributes{
		{Namespace: w.Namespace, Verb: "create", Group: "coordination.k8s.io", Resource: "leases"},
		{Verb: "patch", Group: "providertoken.dev", Resource: "providertokens", Subresource: "status"},
		{Verb: "watch", Group: "providertoken.dev", Resource: "clustertokenproviders"},
	}
	if w.Propagation {
		user.Groups = append(user.Groups, propagators)
		wanted = append(wanted, authorizationv1.ResourceAttributes{Verb: "patch", Resource: "pods", Subresource: "status"})
	}
	if w.Identities {
		user.Groups = append(user.Groups, identified)
		wanted = append(wanted,
			authorizationv1.ResourceAttributes{Verb: "create", Resource: "serviceaccounts", Subresource: "token"},
			authorizationv1.ResourceAttributes{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"})
	}
	for i := range wanted {
		w.Server.awaitRight(ctx, user, &wanted[i])
	}
	return user
}

// awaitRight waits until the API server has seen a binding that was written.
func (s *Server) awaitRight(ctx context.Context, user *rest.ImpersonationConfig, right *authorizationv1.ResourceAttributes) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.UserName, Groups: user.Groups, ResourceAttributes: right,
		}}
		g.Expect(s.Client.Create(ctx, review)).To(Succeed())
		g.Expect(review.Status.Allowed).To(BeTrue(), "%s %s/%s", right.Verb, right.Resource, right.Subresource)
	}).WithTimeout(bindingPatience).WithPolling(5 * time.Millisecond).Should(Succeed())
}

// refusals are the requests of an operator that it had no right to.
type refusals struct {
	mu   sync.Mutex
	seen []refusal
}

type refusal struct{ namespace, request string }

// Wrap notes what next refuses for lack of rights.
func (f *refusals) Wrap(next http.RoundTripper) http.RoundTripper {
	return RoundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err != nil || resp.StatusCode != http.StatusForbidden {
			return resp, err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		// Quotas, policies and namespaces that are about to go refuse by the same status, in
		// other words. (The text is the same in JSON and protobuf.)
		if bytes.Contains(body, []byte(" cannot ")) && bytes.Contains(body, []byte("User ")) {
			f.note(r)
		}
		return resp, err
	})
}

func (f *refusals) note(r *http.Request) {
	seen := refusal{request: r.Method + " " + r.URL.Path}
	if _, path, found := strings.Cut(r.URL.Path, "/namespaces/"); found {
		seen.namespace, _, _ = strings.Cut(path, "/")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, seen)
}

// expectNone fails the spec when an operator had no right to something, except in
// namespaces that are gone, whose bindings went with them.
func (f *refusals) expectNone(ctx context.Context, c client.Client) {
	GinkgoHelper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var requests []string
	for _, r := range f.seen {
		var ns corev1.Namespace
		if r.namespace != "" {
			err := c.Get(ctx, client.ObjectKey{Name: r.namespace}, &ns)
			if apierrors.IsNotFound(err) || err == nil && ns.DeletionTimestamp != nil {
				continue
			}
			Expect(err).NotTo(HaveOccurred())
		}
		requests = append(requests, r.request)
	}
	Expect(requests).To(BeEmpty(), "the operator had no right to these: does config/rbac lack one? A spec that means it says so by MayBeForbidden")
}
