package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/consent"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/token"
)

// wallet is what the Secrets of one ProviderToken hold for its provider.
type wallet struct {
	secrets map[string]*corev1.Secret // by name; only those that exist and are bound to the provider
	from    location
	def     *definition
	// made are credentials that were provisioned and are not in the cache yet.
	made provider.Credentials
	// madeHosts is what the Secret that they were made with lists in its annotation.
	madeHosts string
}

// location is where credentials are looked for.
type location struct {
	namespace  string
	secretName string
	keys       []v1alpha1.CredentialKey
	// serviceAccount whose token stands for what no Secret holds; nil for none.
	serviceAccount *v1alpha1.ServiceAccountCredentials
}

// sourceOf is the ProviderToken's own Secrets, or those of the platform.
func sourceOf(pt *v1alpha1.ProviderToken, o origin) location {
	if p := o.Platform; p != nil {
		return location{namespace: p.Namespace, secretName: p.SecretName, keys: p.Keys}
	}
	c := pt.Spec.Credentials
	return location{namespace: pt.Namespace, secretName: c.SecretName, keys: c.Keys, serviceAccount: c.ServiceAccount}
}

func (s location) names() []string {
	return (&v1alpha1.PlatformCredentials{SecretName: s.secretName, Keys: s.keys}).SecretNames()
}

// openWallet reads the credential Secrets that pt or its provider names, of which only
// those bound to the provider count: one that is missing and one that is bound
// elsewhere read the same, so that a ProviderToken cannot be used to probe.
func (r *Reconciler) openWallet(ctx context.Context, from location, o origin) (wallet, *problem, error) {
	w := wallet{secrets: map[string]*corev1.Secret{}, from: from, def: o.Definition}
	for _, name := range from.names() {
		s, err := r.credentialSecret(ctx, from.namespace, name, o)
		if err != nil {
			return w, nil, err
		}
		if s == nil {
			return w, missingSecret(from, name, o), nil
		}
		w.secrets[name] = s
	}
	return w, nil, nil
}

// credentialSecret is nil when there is none that is bound to the provider.
func (r *Reconciler) credentialSecret(ctx context.Context, namespace, name string, o origin) (*corev1.Secret, error) {
	var s corev1.Secret
	err := r.Credentials.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s, client.UnsafeDisableDeepCopy)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading credential Secret %s: %w", name, err)
	}
	if err != nil || s.Labels[v1alpha1.CredentialsForLabel] != o.boundTo() {
		return nil, nil //nolint:nilerr // not found is told as a problem
	}
	return &s, nil
}

func missingSecret(from location, name string, o origin) *problem {
	p := &problem{
		Condition: v1alpha1.CredentialsResolvedCondition,
		Reason:    v1alpha1.ReasonWaitingForCredentials,
		Late:      v1alpha1.ReasonCredentialsNotFound,
		Message: fmt.Sprintf("there is no Secret %q with the label %s: %s in namespace %s; create it, or label it",
			name, v1alpha1.CredentialsForLabel, o.boundTo(), from.namespace),
		Waiting: true,
	}
	if o.Platform != nil {
		// Where the platform keeps its credentials is nothing for those who use them.
		p.Message = fmt.Sprintf("ClusterTokenProvider %q has no credentials: a Secret that its spec.credentials names does not exist, or lacks the label %s: %s; tell whoever owns it",
			o.Name, v1alpha1.CredentialsForLabel, o.boundTo())
	}
	return p
}

// get returns the credential of that canonical name, and whether it is there.
func (w wallet) get(canonical string) (token.Secret, bool) {
	if w.made != nil {
		v, ok := w.made[canonical]
		return v, ok
	}
	for _, k := range w.from.keys {
		if string(k.Name) != canonical {
			continue
		}
		name := k.SecretName
		if name == "" {
			name = w.from.secretName
		}
		return provider.FindKey(k.Key, w.reader(name))
	}
	return w.def.Find(canonical, w.reader(w.from.secretName))
}

// reader reads the keys of one of the Secrets.
func (w wallet) reader(name string) func(key string) ([]byte, bool) {
	return func(key string) ([]byte, bool) {
		s := w.secrets[name]
		if s == nil {
			return nil, false
		}
		v, ok := s.Data[key]
		return v, ok && len(v) > 0
	}
}

func (w wallet) has(canonical string) bool {
	_, ok := w.get(canonical)
	return ok || w.promises(canonical)
}

// credentials are all that are there, by canonical name.
func (w wallet) credentials() provider.Credentials {
	c := provider.Credentials{}
	for _, name := range w.def.names {
		if v, ok := w.get(name); ok {
			c[name] = v
		}
	}
	return c
}

// unknownKey is the first remapped credential that the provider does not know.
func (w wallet) unknownKey() *problem {
	known := w.def.names
	for _, k := range w.from.keys {
		if !slices.Contains(known, string(k.Name)) {
			return providerProblem(v1alpha1.ReasonInvalidCredentials, fmt.Sprintf(
				"credentials.keys names %q, which the provider does not know; use only %s", k.Name, join(known)))
		}
	}
	return nil
}

// allows tells whether every Secret names host (host:port) in its annotation. A
// ServiceAccount is always asked, right before its token is used.
func (w wallet) allows(host string) bool {
	if w.made != nil {
		return consent.Hosts(w.madeHosts, host)
	}
	for _, s := range w.secrets {
		if !consent.Hosts(s.Annotations[v1alpha1.AllowedHostsAnnotation], host) {
			return false
		}
	}
	return len(w.secrets) > 0 || w.from.serviceAccount != nil
}

// version changes whenever a credential does. It stays in memory.
func version(c provider.Credentials) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c)) {
		v := c[name].Reveal()
		h.Write([]byte(name + " " + strconv.Itoa(len(v)) + " " + v))
	}
	return hex.EncodeToString(h.Sum(nil))
}
