package target

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// Check finds everything wrong with format and template that can be known
// without a token, by rendering sample tokens: one with all that a token can
// have, and one without scopes. It is meant to be called before an exchange, so
// that no token is spent on a target that cannot hold it. t may be nil. The
// error is an *Error with Reason InvalidTemplate or TooLarge.
func Check(t *v1alpha1.Target) error {
	if t == nil || t.Template == nil && (t.Format == "" || t.Format == v1alpha1.DefaultFormat) {
		return nil // what most targets are holds any token
	}
	owner := &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "namespace", Name: "name", UID: "uid"},
		Spec:       v1alpha1.ProviderTokenSpec{Target: t},
	}
	for _, tok := range []token.Token{sampleToken(), bareToken()} {
		if _, err := renderSample(owner, tok); err != nil {
			return err
		}
	}
	return nil
}

// Sample is owner's target with a sample token, for Writer.Rehearse.
func Sample(owner *v1alpha1.ProviderToken) (*corev1.Secret, error) {
	return renderSample(owner, sampleToken())
}

// renderSample differs from Render in that errors may tell all about the values.
func renderSample(owner *v1alpha1.ProviderToken, tok token.Token) (*corev1.Secret, error) {
	data, err := renderData(targetOf(owner), tok)
	if err != nil {
		return nil, withDetail(err)
	}
	return dress(owner, Content{Token: tok, Inputs: "sample", RefreshAt: tok.IssuedAt}, data)
}

// sampleToken has the size and alphabet of a large JWT and all that can come with it.
func sampleToken() token.Token {
	issued := time.Date(2001, time.January, 1, 0, 0, 0, 0, time.UTC)
	access := strings.Repeat("sample-token_", 24) + "." + strings.Repeat("Sample0Token9", 80) + "." + strings.Repeat("sample-token_", 26)
	return token.Token{
		Access:       token.NewSecret(access),
		Type:         "Bearer",
		Scopes:       []string{"sample:read", "sample:write"},
		IssuedAt:     issued,
		ExpiresAt:    issued.Add(time.Hour),
		ExpirySource: token.ExpiresIn,
	}
}

// bareToken is short, and its provider did not say which scopes it granted.
func bareToken() token.Token {
	tok := sampleToken()
	tok.Access = token.NewSecret("sample-token-0123456789-abcdefgh")
	tok.Scopes = nil
	return tok
}
