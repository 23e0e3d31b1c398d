package target

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// secretMark is in every secret of these tests and must be in no message.
const secretMark = "do-not-show"

func noon() time.Time { return time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC) }

func newOwner(edits ...func(*v1alpha1.ProviderToken)) *v1alpha1.ProviderToken {
	p := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{
		Namespace: "imagery", Name: "up42-token", UID: "5f0c6b1e-0000-4000-8000-000000000001",
	}}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

func withTarget(t v1alpha1.Target) func(*v1alpha1.ProviderToken) {
	return func(p *v1alpha1.ProviderToken) { p.Spec.Target = &t }
}

func withTemplate(t v1alpha1.SecretTemplate) func(*v1alpha1.ProviderToken) {
	return withTarget(v1alpha1.Target{Template: &t})
}

func withData(data map[string]v1alpha1.TemplateText) func(*v1alpha1.ProviderToken) {
	return withTemplate(v1alpha1.SecretTemplate{Data: data})
}

func replacing(data map[string]v1alpha1.TemplateText) func(*v1alpha1.ProviderToken) {
	return withTemplate(v1alpha1.SecretTemplate{Data: data, Keys: v1alpha1.ReplaceKeys})
}

func newContent(edits ...func(*Content)) Content {
	c := Content{
		Token: token.Token{
			Access:       token.NewSecret("eyJ.do-not-show.c2ln"),
			Type:         "Bearer",
			Scopes:       []string{"images:read", "orders:write"},
			IssuedAt:     noon(),
			ExpiresAt:    noon().Add(time.Hour),
			ExpirySource: token.ExpiresIn,
		},
		Inputs:         "v1:0123abcd",
		RefreshAt:      noon().Add(40 * time.Minute),
		HandledRefresh: "2026-03-04T11:59:00Z",
	}
	for _, edit := range edits {
		edit(&c)
	}
	return c
}

func mustRender(t *testing.T, owner *v1alpha1.ProviderToken, c Content) *corev1.Secret {
	t.Helper()
	s, err := Render(owner, c)
	if err != nil {
		t.Fatalf("Render: %v", err)
	}
	return s
}

// published is s as it comes back from the API server.
func published(s *corev1.Secret, edits ...func(*corev1.Secret)) *corev1.Secret {
	s = s.DeepCopy()
	s.UID, s.ResourceVersion = "0d5f4c2e-0000-4000-8000-000000000002", "7"
	for _, edit := range edits {
		edit(s)
	}
	return s
}

func wantReason(t *testing.T, err error, want Reason) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v (%T), want *Error with reason %s", err, err, want)
	}
	if e.Reason != want {
		t.Fatalf("reason is %s (%v), want %s", e.Reason, e, want)
	}
	return e
}
