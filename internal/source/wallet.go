package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/consent"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/token"
)

// Wallet is what the Secrets of one ProviderToken hold for its provider.
type Wallet struct {
	Secrets    map[string]*corev1.Secret // by name; only those that exist and are bound to the provider
	From       Location
	Definition *Definition
	// Made are credentials that were provisioned and are not in the cache yet.
	Made provider.Credentials
	// MadeHosts is what the Secret that they were made with lists in its annotation.
	MadeHosts string
}

// Location is where credentials are looked for.
type Location struct {
	Namespace  string
	SecretName string
	Keys       []v1alpha1.CredentialKey
	// ServiceAccount whose token stands for what no Secret holds; nil for none.
	ServiceAccount *v1alpha1.ServiceAccountCredentials
}

// LocationOf is the ProviderToken's own Secrets, or those of the platform.
func LocationOf(pt *v1alpha1.ProviderToken, o Origin) Location {
	if p := o.Platform; p != nil {
		return Location{Namespace: p.Namespace, SecretName: p.SecretName, Keys: p.Keys}
	}
	c := pt.Spec.Credentials
	return Location{Namespace: pt.Namespace, SecretName: c.SecretName, Keys: c.Keys, ServiceAccount: c.ServiceAccount}
}

// Names lists the Secrets, each once.
func (l Location) Names() []string {
	return (&v1alpha1.PlatformCredentials{SecretName: l.SecretName, Keys: l.Keys}).SecretNames()
}

// Open reads the credential Secrets that pt or its provider names, of which only
// those bound to the provider count: one that is missing and one that is bound
// elsewhere read the same, so that a ProviderToken cannot be used to probe.
func (f Finder) Open(ctx context.Context, from Location, o Origin) (Wallet, *Problem, error) {
	w := Wallet{Secrets: map[string]*corev1.Secret{}, From: from, Definition: o.Definition}
	for _, name := range from.Names() {
		s, err := f.Secret(ctx, from.Namespace, name, o)
		if err != nil {
			return w, nil, err
		}
		if s == nil {
			return w, missingSecret(from, name, o), nil
		}
		w.Secrets[name] = s
	}
	return w, nil, nil
}

// Secret is nil when there is none that is bound to the provider.
func (f Finder) Secret(ctx context.Context, namespace, name string, o Origin) (*corev1.Secret, error) {
	var s corev1.Secret
	err := f.Secrets.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s, client.UnsafeDisableDeepCopy)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading credential Secret %s: %w", name, err)
	}
	if err != nil || s.Labels[v1alpha1.CredentialsForLabel] != o.BoundTo() {
		return nil, nil //nolint:nilerr // not found is told as a problem
	}
	return &s, nil
}

func missingSecret(from Location, name string, o Origin) *Problem {
	p := &Problem{
		Reason: v1alpha1.ReasonWaitingForCredentials,
		Late:   v1alpha1.ReasonCredentialsNotFound,
		Message: fmt.Sprintf("there is no Secret %q with the label %s: %s in namespace %s; create it, or label it",
			name, v1alpha1.CredentialsForLabel, o.BoundTo(), from.Namespace),
		Waiting: true,
	}
	if o.Platform != nil {
		// Where the platform keeps its credentials is nothing for those who use them.
		p.Message = fmt.Sprintf("ClusterTokenProvider %q has no credentials: a Secret that its spec.credentials names does not exist, or lacks the label %s: %s; tell whoever owns it",
			o.Name, v1alpha1.CredentialsForLabel, o.BoundTo())
	}
	return p
}

// Get returns the credential of that canonical name, and whether it is there.
func (w Wallet) Get(canonical string) (token.Secret, bool) {
	if w.Made != nil {
		v, ok := w.Made[canonical]
		return v, ok
	}
	for _, k := range w.From.Keys {
		if string(k.Name) != canonical {
			continue
		}
		name := k.SecretName
		if name == "" {
			name = w.From.SecretName
		}
		return provider.FindKey(k.Key, w.reader(name))
	}
	return w.Definition.Find(canonical, w.reader(w.From.SecretName))
}

// reader reads the keys of one of the Secrets.
func (w Wallet) reader(name string) func(key string) ([]byte, bool) {
	return func(key string) ([]byte, bool) {
		s := w.Secrets[name]
		if s == nil {
			return nil, false
		}
		v, ok := s.Data[key]
		return v, ok && len(v) > 0
	}
}

// Has tells whether the credential of that canonical name is there, or a ServiceAccount's token
// will stand for it.
func (w Wallet) Has(canonical string) bool {
	_, ok := w.Get(canonical)
	return ok || w.promises(canonical)
}

// Credentials are all that are there, by canonical name.
func (w Wallet) Credentials() provider.Credentials {
	c := provider.Credentials{}
	for _, name := range w.Definition.CredentialNames() {
		if v, ok := w.Get(name); ok {
			c[name] = v
		}
	}
	return c
}

// Resolve makes every choice that the definition leaves open, with the credentials that
// are there, and returns both. What was chosen is shared: whoever gets it must not change it.
func (w Wallet) Resolve(parameters map[string]string) (*provider.Resolved, provider.Credentials, error) {
	there := w.Credentials()
	chosen, err := w.Definition.choose(parameters, func(canonical string) bool {
		_, held := there[canonical]
		return held || w.promises(canonical)
	})
	return chosen, there, err
}

// federated are the credentials that a ServiceAccount's token can stand for.
func federated() []string {
	return []string{provider.CredSubjectToken, provider.CredAssertion, provider.CredClientAssertion}
}

// promises tells whether a ServiceAccount may stand for a credential that no Secret
// holds. Who has a key signs the grant's assertion with that.
func (w Wallet) promises(canonical string) bool {
	if w.From.ServiceAccount == nil || !slices.Contains(federated(), canonical) {
		return false
	}
	_, signs := w.Get(provider.CredPrivateKey)
	return canonical != provider.CredAssertion || !signs
}

// Where tells which Secret and which key hold a credential.
func (w Wallet) Where(canonical string) (secret, key string) {
	for _, k := range w.From.Keys {
		if string(k.Name) == canonical {
			return cmp.Or(k.SecretName, w.From.SecretName), k.Key
		}
	}
	read := w.reader(w.From.SecretName)
	for _, key := range w.Definition.Keys(canonical) {
		if v, ok := provider.FindKey(key, read); ok && !v.IsZero() {
			return w.From.SecretName, key
		}
	}
	return w.From.SecretName, canonical
}

// UnknownKey is the first remapped credential that the provider does not know.
func (w Wallet) UnknownKey() *Problem {
	known := w.Definition.CredentialNames()
	for _, k := range w.From.Keys {
		if !slices.Contains(known, string(k.Name)) {
			return stalled(v1alpha1.ReasonInvalidCredentials, fmt.Sprintf(
				"credentials.keys names %q, which the provider does not know; use only %s", k.Name, strings.Join(known, ", ")))
		}
	}
	return nil
}

// Allows tells whether every Secret names host (host:port) in its annotation. A
// ServiceAccount is always asked, right before its token is used.
func (w Wallet) Allows(host string) bool {
	if w.Made != nil {
		return consent.Hosts(w.MadeHosts, host)
	}
	for _, s := range w.Secrets {
		if !consent.Hosts(s.Annotations[v1alpha1.AllowedHostsAnnotation], host) {
			return false
		}
	}
	return len(w.Secrets) > 0 || w.From.ServiceAccount != nil
}

// Fingerprint changes whenever a credential does. It stays in memory.
func Fingerprint(c provider.Credentials) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(c)) {
		v := c[name].Reveal()
		h.Write([]byte(name + " " + strconv.Itoa(len(v)) + " " + v))
	}
	return hex.EncodeToString(h.Sum(nil))
}
