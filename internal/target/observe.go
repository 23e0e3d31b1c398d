package target

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// Observation is what a target was seen to hold.
type Observation struct {
	// Exists tells whether there is a Secret of that name.
	Exists bool
	// Foreign tells that it belongs to somebody else; then nothing but the
	// identifying fields below is set.
	Foreign bool
	// Owner is namespace/name of the ProviderToken that a foreign Secret says it
	// belongs to; empty when it does not say so in a form worth repeating.
	Owner string
	// Immutable tells that the API server would refuse to change it.
	Immutable bool
	// Type of the Secret.
	Type corev1.SecretType
	// ResourceVersion that was observed.
	ResourceVersion string
	// UID of the Secret.
	UID types.UID
	// Content of a target that is ours; nil if it does not describe a token's
	// life. Its Token.Access is zero when it cannot be known which token was
	// published: with keys: Replace, and after edits that cannot be undone. A
	// RefreshAt that is missing is zero.
	Content *Content
	// Intact tells that nobody changed data or what describes the token since it
	// was written, and that label and owner annotation are there.
	Intact bool
}

// Observe says what s, nil if absent, means to owner. It is pure.
func Observe(owner *v1alpha1.ProviderToken, s *corev1.Secret) Observation {
	if s == nil {
		return Observation{}
	}
	o := Observation{
		Exists:          true,
		Immutable:       immutable(s),
		Type:            s.Type,
		ResourceVersion: s.ResourceVersion,
		UID:             s.UID,
	}
	if !ownedBy(s, ownerKey(owner)) {
		o.Foreign = true
		o.Owner = claimedOwner(s)
		return o
	}
	vouched := dataVouched(s)
	o.Intact = s.Labels[v1alpha1.TargetLabel] == "true" && vouched
	o.Content = observeContent(owner, s, vouched)
	return o
}

// Accepts returns nil if have, nil if absent, is or can become owner's target,
// and otherwise the *Error (Foreign, Immutable or TypeMismatch) with which
// Apply would refuse it: to be known before an exchange.
func Accepts(owner *v1alpha1.ProviderToken, have *corev1.Secret) error {
	if have == nil {
		return nil
	}
	return obstacle(have, ownerKey(owner), secretType(targetOf(owner)))
}

// obstacle is why have must not be written on behalf of owner.
func obstacle(have *corev1.Secret, owner string, typ corev1.SecretType) error {
	switch {
	case !ownedBy(have, owner):
		return foreign(have)
	case immutable(have):
		return &Error{Reason: Immutable,
			Problem: "Secret " + have.Name + " is immutable",
			Fix:     "delete it, and the operator creates it anew"}
	case have.Type != typ:
		return &Error{Reason: TypeMismatch,
			Problem: "Secret " + have.Name + " is not of type " + string(typ) + ", and the type of a Secret cannot be changed",
			Fix:     "delete it, and the operator creates it anew"}
	default:
		return nil
	}
}

func foreign(have *corev1.Secret) error {
	problem := "Secret " + have.Name + " exists and was not made for this ProviderToken"
	if other := claimedOwner(have); other != "" {
		problem = "Secret " + have.Name + " belongs to ProviderToken " + other
	}
	return &Error{Reason: Foreign, Problem: problem,
		Fix: "use another target.secretName in a new ProviderToken, or delete the Secret if nobody needs it"}
}

func immutable(s *corev1.Secret) bool { return s.Immutable != nil && *s.Immutable }

func ownedBy(s *corev1.Secret, owner string) bool {
	return owner != "" && s.Annotations[v1alpha1.OwnerAnnotation] == owner
}

// claimedOwner is the owner annotation, if it has the form of one: anybody can
// write anything there, and it goes into messages.
func claimedOwner(s *corev1.Secret) string {
	claim := s.Annotations[v1alpha1.OwnerAnnotation]
	namespace, name, _ := strings.Cut(claim, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return ""
	}
	return claim
}

// dataVouched tells whether the content hash vouches for data and description.
func dataVouched(s *corev1.Secret) bool {
	return hashAgrees(s.Annotations[v1alpha1.ContentHashAnnotation], contentHash(s))
}

// observeContent reads the content back. The token counts only if the content
// hash vouches for it: either nothing was changed at all, or what was written
// can be rendered again from this token.
func observeContent(owner *v1alpha1.ProviderToken, s *corev1.Secret, vouched bool) *Content {
	c, ok := parseContent(s.Annotations)
	if !ok {
		return nil
	}
	access := token.Lent(s.Data[TokenKey])
	if access.IsZero() {
		return &c
	}
	restored := c
	restored.Token.Access = access
	withPrevious := restored.withPreviousOf(s.Data)
	switch {
	case vouched || reproduces(owner, withPrevious, s):
		return &withPrevious
	case reproduces(owner, restored, s):
		return &restored // somebody added what looks like a previous token
	default:
		return &c
	}
}

// reproduces tells whether rendering c, all of it, gives what was once written to s.
func reproduces(owner *v1alpha1.ProviderToken, c Content, s *corev1.Secret) bool {
	t := targetOf(owner)
	t.KeepPrevious = c.hasPrevious()
	then := owner.DeepCopy()
	then.Spec.Target = &t
	again, err := Render(then, c)
	return err == nil && again.Annotations[v1alpha1.ContentHashAnnotation] == s.Annotations[v1alpha1.ContentHashAnnotation]
}
