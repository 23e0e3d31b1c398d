package controller

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/providertoken/operator/api/v1alpha1"
)

// reference is what a ProviderToken refers to. Its strings are those of the ProviderToken.
type reference struct{ kind, namespace, name string }

// Kinds of references; those to definitions are of the kind that the API calls them.
const (
	kindTarget      = "target"
	kindCredentials = "credentials"
	kindCABundle    = "caBundle"
)

// references are all objects that pt names, each once.
func references(pt *v1alpha1.ProviderToken) []reference {
	refs := []reference{{kindTarget, pt.Namespace, pt.TargetName()}}
	for _, name := range pt.CredentialSecrets() {
		refs = append(refs, reference{kindCredentials, pt.Namespace, name})
	}
	if wantsProvisioning(pt) {
		refs = append(refs, reference{kindCredentials, pt.Namespace, pt.Spec.Credentials.Provision.SecretName})
	}
	if ref := pt.Spec.ProviderRef; ref != nil && ref.Kind != "" && ref.Kind != v1alpha1.BuiltinProvider {
		namespace := pt.Namespace
		if ref.Kind == v1alpha1.ClusterProvider {
			namespace = ""
		}
		refs = append(refs, reference{string(ref.Kind), namespace, ref.Name})
	}
	if p := pt.Spec.Provider; p != nil && p.CABundleRef != nil {
		refs = append(refs, reference{kindCABundle, pt.Namespace, p.CABundleRef.Name})
	}
	return refs
}

// users finds ProviderTokens by what they refer to. An informer's indexes would do it,
// too, for 1.3 KB a ProviderToken instead of some 200 bytes: they hold two sets for each
// value, and here most values are of one object.
//
// It follows the informer from the predicate of the watch, so that whatever a reconcile
// of a ProviderToken read before is in it by then: what changes later wakes the
// ProviderToken again, and nothing is missed. Its methods may be called from any goroutine.
type users struct {
	mu    sync.RWMutex
	known map[reference]group
}

// group is a few names, and as a rule one.
type group struct {
	one  types.NamespacedName
	more map[types.NamespacedName]struct{}
}

// change takes what was for what is; either may be nil.
func (u *users) change(was, is *v1alpha1.ProviderToken) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if was != nil {
		for _, ref := range references(was) {
			u.remove(ref, types.NamespacedName{Namespace: was.Namespace, Name: was.Name})
		}
	}
	if is != nil {
		for _, ref := range references(is) {
			u.add(ref, types.NamespacedName{Namespace: is.Namespace, Name: is.Name})
		}
	}
}

func (u *users) add(ref reference, name types.NamespacedName) {
	if u.known == nil {
		u.known = map[reference]group{}
	}
	g, known := u.known[ref]
	switch {
	case !known:
		g.one = name
	case g.one == name:
		return
	case g.more == nil:
		g.more = map[types.NamespacedName]struct{}{name: {}}
	default:
		g.more[name] = struct{}{}
		return
	}
	u.known[ref] = g
}

func (u *users) remove(ref reference, name types.NamespacedName) {
	g, known := u.known[ref]
	if !known {
		return
	}
	if g.one != name {
		delete(g.more, name)
		return
	}
	delete(u.known, ref)
	for next := range g.more {
		delete(g.more, next)
		u.known[ref] = group{one: next, more: g.more}
		return
	}
}

// of lists who refers to an object.
func (u *users) of(kind, namespace, name string) []reconcile.Request {
	u.mu.RLock()
	defer u.mu.RUnlock()
	g, known := u.known[reference{kind, namespace, name}]
	if !known {
		return nil
	}
	all := make([]reconcile.Request, 1, 1+len(g.more))
	all[0].NamespacedName = g.one
	for name := range g.more {
		all = append(all, reconcile.Request{NamespacedName: name})
	}
	return all
}
