package target

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

func annotate(key, value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) {
		if value == "" {
			delete(s.Annotations, key)
			return
		}
		s.Annotations[key] = value
	}
}

func put(key, value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Data[key] = []byte(value) }
}

func makeImmutable(s *corev1.Secret) { yes := true; s.Immutable = &yes }

func TestObserve(t *testing.T) {
	whole := newContent().AsPublished()
	withoutAccess := newContent(func(c *Content) { c.Token.Access = token.Secret{} }).AsPublished()
	edited := func(edit func(*Content)) *Content { c := withoutAccess; edit(&c); return &c }
	replace := newOwner(replacing(map[string]v1alpha1.TemplateText{"x": "{{.token}}"}))
	tests := []struct {
		name    string
		owner   *v1alpha1.ProviderToken
		edit    func(*corev1.Secret)
		intact  bool
		content *Content
	}{
		{"as published", newOwner(), func(*corev1.Secret) {}, true, &whole},
		{"with metadata of others", newOwner(), func(s *corev1.Secret) { s.Labels["a"], s.Annotations["b"] = "x", "y" }, true, &whole},
		{"restored from a backup without ownerReference", newOwner(), func(s *corev1.Secret) { s.OwnerReferences = nil }, true, &whole},
		{"without its label", newOwner(), func(s *corev1.Secret) { delete(s.Labels, v1alpha1.TargetLabel) }, false, &whole},
		{"with a key edited, the token can still be vouched for", newOwner(), put("authorization", "x"), false, &whole},
		{"with a key added", newOwner(), put("more", "x"), false, &whole},
		{"with a key removed", newOwner(), func(s *corev1.Secret) { delete(s.Data, "token-type") }, false, &whole},
		{"with the token edited, no token is vouched for", newOwner(), put("token", "x"), false, &withoutAccess},
		{"with the token removed", newOwner(), func(s *corev1.Secret) { delete(s.Data, "token") }, false, &withoutAccess},
		{"without data", newOwner(), func(s *corev1.Secret) { s.Data = nil }, false, &withoutAccess},
		{"with the template changed since and a key edited", newOwner(withData(map[string]v1alpha1.TemplateText{"x": "y"})), put("authorization", "x"), false, &withoutAccess},
		{"with the template changed since", newOwner(withData(map[string]v1alpha1.TemplateText{"x": "y"})), func(*corev1.Secret) {}, true, &whole},
		{"without a content hash", newOwner(), annotate(v1alpha1.ContentHashAnnotation, ""), false, &withoutAccess},
		{"with a content hash of another release", newOwner(), annotate(v1alpha1.ContentHashAnnotation, "v2:abc"), true, &whole},
		{"with a longer life written into it", newOwner(), annotate(v1alpha1.ExpiresAtAnnotation, "2036-01-01T00:00:00Z"), false,
			edited(func(c *Content) { c.Token.ExpiresAt = time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC) })},
		{"with another token type written into it", newOwner(), annotate(v1alpha1.TokenTypeAnnotation, "MAC"), false,
			edited(func(c *Content) { c.Token.Type = "MAC" })},
		{"without issue time", newOwner(), annotate(v1alpha1.IssuedAtAnnotation, ""), false, nil},
		{"with an unreadable issue time", newOwner(), annotate(v1alpha1.IssuedAtAnnotation, "yesterday"), false, nil},
		{"without expiry", newOwner(), annotate(v1alpha1.ExpiresAtAnnotation, ""), false, nil},
		{"with an unreadable expiry", newOwner(), annotate(v1alpha1.ExpiresAtAnnotation, "1772629200"), false, nil},
		{"with an expiry before its issue", newOwner(), annotate(v1alpha1.ExpiresAtAnnotation, "2026-03-04T12:00:00Z"), false, nil},
		{"without a plan", newOwner(), annotate(v1alpha1.RefreshAtAnnotation, ""), true,
			&Content{Token: whole.Token, Inputs: whole.Inputs, HandledRefresh: whole.HandledRefresh}},
		{"with keys: Replace", replace, func(*corev1.Secret) {}, true, &withoutAccess},
		{"with keys: Replace, edited", replace, put("x", "y"), false, &withoutAccess},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			renderedFor := newOwner()
			if tt.owner == replace {
				renderedFor = replace
			}
			s := published(mustRender(t, renderedFor, newContent()), tt.edit)
			want := Observation{Exists: true, Type: corev1.SecretTypeOpaque, ResourceVersion: "7", UID: s.UID, Content: tt.content, Intact: tt.intact}
			if diff := cmp.Diff(want, Observe(tt.owner, s), cmp.AllowUnexported(token.Secret{})); diff != "" {
				t.Errorf("observation differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestObserveTellsWhoseASecretIs(t *testing.T) {
	tests := []struct{ name, owner, says string }{
		{"nobody says", "", ""},
		{"another ProviderToken", "imagery/other", "imagery/other"},
		{"the same name in another namespace", "staging/up42-token", "staging/up42-token"},
		{"no namespace", "up42-token", ""},
		{"not a name", "imagery/<script>\n", ""},
		{"too much of it", "imagery/" + strings.Repeat("a", 300), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := published(mustRender(t, newOwner(), newContent()), annotate(v1alpha1.OwnerAnnotation, tt.owner), makeImmutable)
			want := Observation{Exists: true, Foreign: true, Owner: tt.says, Immutable: true, Type: corev1.SecretTypeOpaque, ResourceVersion: "7", UID: s.UID}
			if diff := cmp.Diff(want, Observe(newOwner(), s)); diff != "" {
				t.Errorf("observation differs (-want +got):\n%s", diff)
			}
			e := wantReason(t, Accepts(newOwner(), s), Foreign)
			if tt.says != "" && !strings.Contains(e.Problem, "belongs to ProviderToken "+tt.says) {
				t.Errorf("message is %q, want it to name %s", e, tt.says)
			}
			if strings.ContainsAny(e.Error(), "<\n") {
				t.Errorf("message repeats what the Secret says: %q", e)
			}
		})
	}
	if got := Observe(newOwner(), nil); got != (Observation{}) {
		t.Errorf("an absent Secret is observed as %v", got)
	}
}

func TestAcceptsKnowsBeforeAnExchangeWhatApplyWouldRefuse(t *testing.T) {
	if err := Accepts(newOwner(), nil); err != nil {
		t.Errorf("an absent Secret is refused: %v", err)
	}
	ours := published(mustRender(t, newOwner(), newContent()))
	if err := Accepts(newOwner(), ours); err != nil {
		t.Errorf("our own Secret is refused: %v", err)
	}
	wantReason(t, Accepts(newOwner(), published(ours, makeImmutable)), Immutable)
	wantReason(t, Accepts(newOwner(withTarget(v1alpha1.Target{Format: v1alpha1.BasicAuthFormat})), ours), TypeMismatch)
}

func TestRepair(t *testing.T) {
	text := map[string]v1alpha1.TemplateText{"x": "{{.token}}"}
	merged, replaced := newOwner(), newOwner(replacing(text))
	relabelled := newOwner(withTemplate(v1alpha1.SecretTemplate{Data: text, Keys: v1alpha1.ReplaceKeys,
		Metadata: &v1alpha1.TemplateMetadata{Labels: map[string]v1alpha1.LabelValue{"app": "viewer"}}}))
	none := func(*corev1.Secret) {}
	tests := []struct {
		name       string
		was, is    *v1alpha1.ProviderToken
		edit       func(*corev1.Secret)
		repairable bool
	}{
		{"nothing to do", merged, merged, none, true},
		{"an edited key", merged, merged, put("authorization", "x"), true},
		{"an edited token", merged, merged, put("token", "x"), false},
		{"no life", merged, merged, annotate(v1alpha1.ExpiresAtAnnotation, ""), false},
		{"from Merge to Replace", merged, replaced, none, true},
		{"from Replace to Merge", replaced, merged, none, false},
		{"Replace, nothing to do", replaced, replaced, none, true},
		{"Replace, label gone", replaced, replaced, func(s *corev1.Secret) { s.Labels = nil }, true},
		{"Replace, another label in the template", replaced, relabelled, none, true},
		{"Replace, template of another release", replaced, replaced, annotate(FormAnnotation, "v9:x"), true},
		{"Replace, edited", replaced, replaced, put("x", "y"), false},
		{"Replace, another template", replaced, newOwner(replacing(map[string]v1alpha1.TemplateText{"x": "{{.token}} "})), none, false},
		{"Replace, another type", replaced, newOwner(withTemplate(v1alpha1.SecretTemplate{Type: "example.com/x", Data: text, Keys: v1alpha1.ReplaceKeys})), none, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			have := published(mustRender(t, tt.was, newContent()), tt.edit)
			got, err := Repair(tt.is, have)
			if !tt.repairable {
				wantReason(t, err, InvalidToken)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(mustRender(t, tt.is, newContent()), got); diff != "" {
				t.Errorf("repaired (+) is not what a rendering makes (-):\n%s", diff)
			}
		})
	}
	_, err := Repair(merged, nil)
	wantReason(t, err, InvalidToken)
}

func TestContentHashTellsContentsApart(t *testing.T) {
	base := mustRender(t, newOwner(), newContent())
	edits := map[string]func(*corev1.Secret){
		"a value":               put("token", "x"),
		"a key":                 put("x", ""),
		"the type":              func(s *corev1.Secret) { s.Type = "example.com/x" },
		"bytes moved to a key":  func(s *corev1.Secret) { s.Data = map[string][]byte{"tokene": []byte("yJ")} },
		"bytes moved from a ke": func(s *corev1.Secret) { s.Data = map[string][]byte{"token": []byte("eyJ")} },
	}
	for _, key := range described() {
		edits[key] = annotate(key, "x")
	}
	seen := map[string]string{contentHash(base): "the original"}
	for name, edit := range edits {
		hash := contentHash(published(base, edit))
		if other, found := seen[hash]; found {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[hash] = name
	}
	reordered := published(base, func(s *corev1.Secret) { s.Data = maps.Clone(s.Data) })
	if contentHash(reordered) != contentHash(base) {
		t.Error("the hash depends on the order of keys")
	}
}
