package controller

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/providertoken/operator/api/v1alpha1"
)

func TestUsersAreFoundByWhatTheyReferTo(t *testing.T) {
	r := &Reconciler{memory: newMemory()}
	token := func(name string, generation int64, spec v1alpha1.ProviderTokenSpec) *v1alpha1.ProviderToken {
		return &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, Generation: generation}, Spec: spec}
	}
	of := func(login string, ref v1alpha1.ProviderReference) v1alpha1.ProviderTokenSpec {
		return v1alpha1.ProviderTokenSpec{ProviderRef: &ref, Credentials: &v1alpha1.Credentials{SecretName: login, Keys: []v1alpha1.CredentialKey{{Name: "k", SecretName: "shared"}}}}
	}
	corp := v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: "corp"}
	own := v1alpha1.ProviderReference{Kind: v1alpha1.NamespacedProvider, Name: "corp"}
	builtin := v1alpha1.ProviderReference{Name: "UP42"}
	found := func(kind, namespace, name string) string {
		var all []string
		for _, u := range r.users.of(kind, namespace, name) {
			all = append(all, u.String())
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	cluster, namespaced := string(v1alpha1.ClusterProvider), string(v1alpha1.NamespacedProvider)
	check := func(after string, want map[reference]string) {
		t.Helper()
		for ref, users := range want {
			if got := found(ref.kind, ref.namespace, ref.name); got != users {
				t.Errorf("after %s, %s is used by %q, want %q", after, ref, got, users)
			}
		}
	}
	a, b, c := token("a", 1, of("login", corp)), token("b", 1, of("login", corp)), token("c", 1, of("c-login", own))
	for _, pt := range []*v1alpha1.ProviderToken{a, b, c, b} { // an informer may tell of one twice
		if !r.edited().Create(event.CreateEvent{Object: pt}) {
			t.Error("a new ProviderToken is kept from the queue")
		}
	}
	check("they came", map[reference]string{
		{kindTarget, "team", "a"}: "team/a", {kindTarget, "other", "a"}: "", {kindTarget, "team", "login"}: "",
		{kindCredentials, "team", "login"}: "team/a team/b", {kindCredentials, "team", "shared"}: "team/a team/b team/c", {kindCredentials, "team", "c-login"}: "team/c",
		{cluster, "", "corp"}: "team/a team/b", {namespaced, "team", "corp"}: "team/c", {kindCABundle, "team", "ca"}: "",
	})

	written := b.DeepCopy()
	written.ResourceVersion = "7"
	r.edited().Update(event.UpdateEvent{ObjectOld: b, ObjectNew: written})
	check("a write of status", map[reference]string{{cluster, "", "corp"}: "team/a team/b"})

	inline := token("b", 2, v1alpha1.ProviderTokenSpec{Provider: &v1alpha1.ProviderDefinition{}, Credentials: &v1alpha1.Credentials{SecretName: "b-login"}})
	inline.Spec.Provider.CABundleRef = &v1alpha1.ConfigMapKeyReference{Name: "ca"}
	if !r.edited().Update(event.UpdateEvent{ObjectOld: written, ObjectNew: inline}) {
		t.Error("an edit is kept from the queue")
	}
	check("an edit", map[reference]string{
		{cluster, "", "corp"}: "team/a", {kindCredentials, "team", "login"}: "team/a", {kindCredentials, "team", "shared"}: "team/a team/c",
		{kindCredentials, "team", "b-login"}: "team/b", {kindCABundle, "team", "ca"}: "team/b",
	})

	again := token("a", 1, of("login", builtin))
	again.UID = "another"
	r.edited().Update(event.UpdateEvent{ObjectOld: a, ObjectNew: again})
	check("one was replaced by another of its name", map[reference]string{{cluster, "", "corp"}: "", {kindCredentials, "team", "login"}: "team/a", {"Builtin", "", "UP42"}: ""})

	r.edited().Delete(event.DeleteEvent{Object: again})
	check("the first of two went", map[reference]string{{kindCredentials, "team", "shared"}: "team/c", {kindCredentials, "team", "login"}: ""})

	for _, pt := range []*v1alpha1.ProviderToken{inline, c, c} {
		if !r.edited().Delete(event.DeleteEvent{Object: pt}) {
			t.Error("a deletion is kept from the queue")
		}
	}
	if n := len(r.users.known); n != 0 {
		t.Errorf("%d references of ProviderTokens that are gone are kept: %v", n, r.users.known)
	}
}
