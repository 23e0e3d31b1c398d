package controller

import (
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/audit"
)

// credentialWarning is how long before the end of a credential status says so: the time
// that an organisation may need to have a new one made.
const credentialWarning = 14 * 24 * time.Hour

// provenance is the Secrets that credentials are from, and what those say about their end.
type provenance struct {
	from map[string]*corev1.Secret // by name
	// expires is when the first of them ends; zero when none says so.
	expires time.Time
	// unreadable is the name of one whose annotation is no instant; empty when there is none.
	unreadable string
}

// provenanceOf looks at the Secrets of a wallet.
func provenanceOf(w wallet) provenance {
	s := provenance{from: w.Secrets}
	for name, secret := range w.Secrets {
		told, says := secret.Annotations[v1alpha1.CredentialExpiresAtAnnotation]
		if !says {
			continue
		}
		at, err := time.Parse(time.RFC3339, told)
		if err != nil {
			s.unreadable = max(s.unreadable, name) // always the same one
			continue
		}
		if at = at.UTC().Truncate(time.Second); s.expires.IsZero() || at.Before(s.expires) {
			s.expires = at
		}
	}
	return s
}

// secrets lists them by name, for the audit log.
func (s provenance) secrets() []audit.Secret {
	var all []audit.Secret
	for _, name := range slices.Sorted(maps.Keys(s.from)) {
		all = append(all, audit.Secret{Namespace: s.from[name].Namespace, Name: name, ResourceVersion: s.from[name].ResourceVersion})
	}
	return all
}

func (f *facts) credentialExpiresAt() *metav1.Time {
	if f.sources.expires.IsZero() {
		return nil
	}
	at := metav1.NewTime(f.sources.expires)
	return &at
}

// credentialNews is the next instant at which there is something else to say about the
// end of the credential; zero when there is none.
func (f *facts) credentialNews() time.Time {
	if f.sources.expires.IsZero() {
		return time.Time{}
	}
	if warn := f.sources.expires.Add(-credentialWarning); f.now.Before(warn) {
		return warn
	}
	return f.sources.expires
}

// resolution is what there is to say about credentials that are there.
func (f *facts) resolution() (reason, message string) {
	whose, end := "the credentials for "+f.origin.Name+" are there", f.sources.expires
	switch {
	case f.sources.unreadable != "":
		return v1alpha1.ReasonCredentialExpiryUnreadable, fmt.Sprintf(
			"%s, but the annotation %s of %s is not an instant such as 2027-01-31T00:00:00Z (RFC 3339); %s, or nobody is warned before they end",
			whose, v1alpha1.CredentialExpiresAtAnnotation, f.theirSecret(f.sources.unreadable), f.unlessPlatform("correct it"))
	case end.IsZero() || f.now.Before(end.Add(-credentialWarning)):
		return v1alpha1.ReasonResolved, whose
	case f.now.Before(end):
		return v1alpha1.ReasonCredentialExpiresSoon, fmt.Sprintf("%s, but end at %s, as the annotation %s says; %s",
			whose, stamp(end), v1alpha1.CredentialExpiresAtAnnotation, f.unlessPlatform("have new ones made, write them into the Secret, and set the annotation to their end"))
	default:
		return v1alpha1.ReasonCredentialExpired, fmt.Sprintf("%s, but ended at %s, as the annotation %s says; %s",
			whose, stamp(end), v1alpha1.CredentialExpiresAtAnnotation, f.unlessPlatform("write new ones into the Secret, and set the annotation to their end"))
	}
}

// theirSecret names a credential Secret to those who may know where it is.
func (f *facts) theirSecret(name string) string {
	if f.origin.Platform != nil {
		return "their Secret"
	}
	return fmt.Sprintf("Secret %q", name)
}

// unlessPlatform is what to do, for those who can.
func (f *facts) unlessPlatform(fix string) string {
	if f.origin.Platform != nil {
		return "tell whoever owns that ClusterTokenProvider"
	}
	return fix
}

// foreboding reasons belong to conditions that are true, and announce what is to come.
func foreboding(reason string) bool {
	switch reason {
	case v1alpha1.ReasonCredentialExpiresSoon, v1alpha1.ReasonCredentialExpired, v1alpha1.ReasonCredentialExpiryUnreadable:
		return true
	}
	return false
}

// credentialLabel is where the credentials are, for metrics. It tells no more than the
// spec does: where the platform keeps its own is not for everybody.
func (f *facts) credentialLabel() string {
	if f.origin.Platform != nil {
		return string(v1alpha1.ClusterProvider) + "/" + f.origin.Name
	}
	c := f.pt.Spec.Credentials
	if c == nil {
		return ""
	}
	name := c.SecretName
	if names := f.pt.CredentialSecrets(); name == "" && len(names) > 0 {
		name = names[0]
	}
	if name == "" && c.ServiceAccount != nil {
		return types.NamespacedName{Namespace: f.pt.Namespace, Name: "serviceaccount:" + c.ServiceAccount.Name}.String()
	}
	return types.NamespacedName{Namespace: f.pt.Namespace, Name: name}.String()
}
