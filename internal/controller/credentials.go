package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
	refs    v1alpha1.Credentials
	def     provider.Definition
}

// openWallet reads the credential Secrets that pt names, of which only those
// bound to the provider count: one that is missing and one that is bound
// elsewhere read the same, so that a ProviderToken cannot be used to probe.
func (r *Reconciler) openWallet(ctx context.Context, pt *v1alpha1.ProviderToken, o origin) (wallet, *problem, error) {
	w := wallet{secrets: map[string]*corev1.Secret{}, def: o.Definition}
	if pt.Spec.Credentials != nil {
		w.refs = *pt.Spec.Credentials
	}
	for _, name := range pt.CredentialSecrets() {
		var s corev1.Secret
		err := r.Credentials.Get(ctx, client.ObjectKey{Namespace: pt.Namespace, Name: name}, &s)
		if err != nil && !apierrors.IsNotFound(err) {
			return w, nil, fmt.Errorf("reading credential Secret %s: %w", name, err)
		}
		if err != nil || s.Labels[v1alpha1.CredentialsForLabel] != o.boundTo() {
			return w, &problem{ //nolint:nilerr // not found is told as a problem
				Condition: v1alpha1.CredentialsResolvedCondition,
				Reason:    v1alpha1.ReasonWaitingForCredentials,
				Late:      v1alpha1.ReasonCredentialsNotFound,
				Message: fmt.Sprintf("there is no Secret %q with the label %s: %s in namespace %s; create it, or label it",
					name, v1alpha1.CredentialsForLabel, o.boundTo(), pt.Namespace),
				Waiting: true,
			}, nil
		}
		w.secrets[name] = &s
	}
	return w, nil, nil
}

// get returns the credential of that canonical name, and whether it is there.
func (w wallet) get(canonical string) (token.Secret, bool) {
	for _, k := range w.refs.Keys {
		if string(k.Name) != canonical {
			continue
		}
		name := k.SecretName
		if name == "" {
			name = w.refs.SecretName
		}
		return w.read(name, k.Key)
	}
	for _, key := range w.def.Keys(canonical) {
		if v, ok := w.read(w.refs.SecretName, key); ok {
			return v, true
		}
	}
	return token.Secret{}, false
}

func (w wallet) read(secret, key string) (token.Secret, bool) {
	s := w.secrets[secret]
	if s == nil {
		return token.Secret{}, false
	}
	v, ok := s.Data[key]
	return token.NewSecret(string(v)), ok && len(v) > 0
}

func (w wallet) has(canonical string) bool {
	_, ok := w.get(canonical)
	return ok || w.promises(canonical)
}

// credentials are all that are there, by canonical name.
func (w wallet) credentials() provider.Credentials {
	c := provider.Credentials{}
	for _, name := range canonicalNames() {
		if v, ok := w.get(name); ok {
			c[name] = v
		}
	}
	return c
}

func canonicalNames() []string {
	return []string{provider.CredClientID, provider.CredClientSecret, provider.CredUsername, provider.CredPassword}
}

// allows tells whether every Secret names host (host:port) in its annotation. A
// ServiceAccount is always asked, right before its token is used.
func (w wallet) allows(host string) bool {
	for _, s := range w.secrets {
		if !consent.Hosts(s.Annotations[v1alpha1.AllowedHostsAnnotation], host) {
			return false
		}
	}
	return len(w.secrets) > 0 || w.refs.ServiceAccount != nil
}

// version changes whenever a credential does. It stays in memory.
func version(c provider.Credentials) string {
	h := sha256.New()
	for _, name := range canonicalNames() {
		v := c[name].Reveal()
		h.Write([]byte(name + " " + strconv.Itoa(len(v)) + " " + v))
	}
	return hex.EncodeToString(h.Sum(nil))
}
