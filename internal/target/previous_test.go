package target

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

const previousAccess = "eyJ.do-not-show.cHJldmlvdXM"

func keeping(p *v1alpha1.ProviderToken) {
	if p.Spec.Target == nil {
		p.Spec.Target = &v1alpha1.Target{}
	}
	p.Spec.Target.KeepPrevious = true
}

func withPrevious(c *Content) {
	c.Previous, c.PreviousExpiresAt = token.NewSecret(previousAccess), noon().Add(20*time.Minute)
}

func TestThePreviousTokenIsKeptUnderItsOwnKeys(t *testing.T) {
	compareGolden(t, "keep-previous", mustRender(t, newOwner(keeping), newContent(withPrevious)))
	without := mustRender(t, newOwner(), newContent())
	for name, s := range map[string]*corev1.Secret{
		"nobody asked for it":            mustRender(t, newOwner(), newContent(withPrevious)),
		"there is none":                  mustRender(t, newOwner(keeping), newContent()),
		"it is the current one":          mustRender(t, newOwner(keeping), newContent(withPrevious, func(c *Content) { c.Previous = c.Token.Access })),
		"its end is not known":           mustRender(t, newOwner(keeping), newContent(withPrevious, func(c *Content) { c.PreviousExpiresAt = time.Time{} })),
		"it has characters of no header": mustRender(t, newOwner(keeping), newContent(withPrevious, func(c *Content) { c.Previous = token.NewSecret("a\nb") })),
	} {
		if diff := cmp.Diff(without, s); diff != "" {
			t.Errorf("where %s, the Secret differs from one without (-want +got):\n%s", name, diff)
		}
	}
}

func TestSucceedingKeepsTheTokenThatWasReplacedWhileItLives(t *testing.T) {
	before := newContent(withPrevious)
	next := newContent(func(c *Content) { c.Token.Access = token.NewSecret("next") })
	same := newContent(func(c *Content) { c.Token.ExpiresAt = noon().Add(50 * time.Minute) })
	expiry := before.Token.ExpiresAt
	tests := []struct {
		name    string
		after   Content
		before  Content
		now     time.Time
		want    string
		expires time.Time
	}{
		{"while it lives", next, before, expiry.Add(-time.Second), before.Token.Access.Reveal(), expiry},
		{"not from its expiry on", next, before, expiry, "", time.Time{}},
		{"nor from the whole second of its expiry on", next, newContent(func(c *Content) { c.Token.ExpiresAt = expiry.Add(999 * time.Millisecond) }), expiry, "", time.Time{}},
		{"not one that cannot be read", next, newContent(withPrevious, func(c *Content) { c.Token.Access = token.Secret{} }), noon(), "", time.Time{}},
		{"the one before it, where the same token came again", same, before, noon(), previousAccess, before.PreviousExpiresAt},
		{"none, where the same token came again and the one before it has expired", same, before, before.PreviousExpiresAt, "", time.Time{}},
		{"none, where the same token came again and there was none before", same, newContent(), noon(), "", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.after.Succeeding(tt.before, tt.now).AsPublished()
			if got.Previous.Reveal() != tt.want || !got.PreviousExpiresAt.Equal(tt.expires) {
				t.Errorf("the previous token is %q until %s, want %q until %s", got.Previous.Reveal(), got.PreviousExpiresAt, tt.want, tt.expires)
			}
		})
	}
}

func TestObserveReadsThePreviousTokenBack(t *testing.T) {
	whole := newContent(withPrevious).AsPublished()
	without := newContent().AsPublished()
	withoutAccess := newContent(func(c *Content) { c.Token.Access = token.Secret{} }).AsPublished()
	remove := func(keys ...string) func(*corev1.Secret) {
		return func(s *corev1.Secret) {
			for _, k := range keys {
				delete(s.Data, k)
			}
		}
	}
	forge := func(s *corev1.Secret) {
		put(PreviousTokenKey, "forged")(s)
		put(PreviousExpiresAtKey, "2026-03-04T12:30:00Z")(s)
	}
	otherRelease := annotate(v1alpha1.ContentHashAnnotation, "v9:x")
	kept := mustRender(t, newOwner(keeping), newContent(withPrevious))
	plain := mustRender(t, newOwner(), newContent())
	tests := []struct {
		name   string
		from   *corev1.Secret
		owner  *v1alpha1.ProviderToken
		edits  []func(*corev1.Secret)
		intact bool
		want   Content
	}{
		{"as published", kept, newOwner(keeping), nil, true, whole},
		{"when the spec does not want it any more", kept, newOwner(), nil, true, whole},
		{"when the spec does not want it any more, and another key was edited", kept, newOwner(), []func(*corev1.Secret){put("authorization", "x")}, false, whole},
		{"with another key edited", kept, newOwner(keeping), []func(*corev1.Secret){put("authorization", "x")}, false, whole},
		{"edited: what was published is not known", kept, newOwner(keeping), []func(*corev1.Secret){put(PreviousTokenKey, "x")}, false, withoutAccess},
		{"removed: what was published is not known", kept, newOwner(keeping), []func(*corev1.Secret){remove(PreviousTokenKey, PreviousExpiresAtKey)}, false, withoutAccess},
		{"forged where there was none: the token is still vouched for", plain, newOwner(keeping), []func(*corev1.Secret){forge}, false, without},
		{"forged without an end", plain, newOwner(keeping), []func(*corev1.Secret){put(PreviousTokenKey, "x")}, false, without},
		{"by another release, with an unreadable end", kept, newOwner(keeping), []func(*corev1.Secret){otherRelease, put(PreviousExpiresAtKey, "soon")}, true, without},
		{"by another release, the same as the current", kept, newOwner(keeping), []func(*corev1.Secret){otherRelease, put(PreviousTokenKey, whole.Token.Access.Reveal())}, true, without},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := Observe(tt.owner, published(tt.from, tt.edits...))
			if o.Intact != tt.intact {
				t.Errorf("intact is %t", o.Intact)
			}
			if diff := cmp.Diff(&tt.want, o.Content, cmp.AllowUnexported(token.Secret{})); diff != "" {
				t.Errorf("content differs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRepairPutsThePreviousTokenBackOrTakesItAway(t *testing.T) {
	have := published(mustRender(t, newOwner(keeping), newContent(withPrevious)), put("authorization", "x"))
	for name, owner := range map[string]*v1alpha1.ProviderToken{"wanted": newOwner(keeping), "not wanted": newOwner()} {
		got, err := Repair(owner, have)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(mustRender(t, owner, newContent(withPrevious)), got); diff != "" {
			t.Errorf("%s: repaired (+) is not what a rendering makes (-):\n%s", name, diff)
		}
	}
}

func TestPreviousTokensAreReadBackAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		access := rapid.StringMatching(`[\x20-\x7E]{1,3}`)
		c := newContent(func(c *Content) {
			c.Token.Access = token.NewSecret(access.Draw(t, "access"))
			c.Previous = token.NewSecret(access.Draw(t, "previous"))
			c.PreviousExpiresAt = noon().Add(time.Duration(rapid.Int64Range(-1e15, 1e15).Draw(t, "expires"))).In(time.FixedZone("somewhere", 3600))
		})
		s, err := Render(newOwner(keeping), c)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(s.Data[PreviousTokenKey], s.Data[TokenKey]) {
			t.Fatal("the previous token is the current one")
		}
		o := Observe(newOwner(keeping), s)
		if diff := cmp.Diff(c.AsPublished(), *o.Content, cmp.AllowUnexported(token.Secret{})); diff != "" || !o.Intact {
			t.Fatalf("read back (+) is not what was written (-), intact %t:\n%s", o.Intact, diff)
		}
	})
}

// The largest tokens that two answers can bring (internal/exchange reads 64 KiB) must
// not make a Secret too large, or a new token could not be published for the old one.
func TestTheLargestPreviousTokenFits(t *testing.T) {
	large := func(fill string) token.Secret { return token.NewSecret(strings.Repeat(fill, 64<<10)) }
	data := map[string]v1alpha1.TemplateText{}
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		data[key] = v1alpha1.TemplateText(strings.Repeat("x", maxKeyOutput))
	}
	for _, target := range []v1alpha1.Target{
		{Format: v1alpha1.DefaultFormat},
		{Format: v1alpha1.BasicAuthFormat},
		{Format: v1alpha1.HeaderFormat},
		{Format: v1alpha1.NetrcFormat, Netrc: &v1alpha1.NetrcTarget{Machine: "m"}},
		{Format: v1alpha1.DockerConfigJSONFormat, DockerConfigJSON: &v1alpha1.DockerConfigJSONTarget{Registry: "r"}},
	} {
		fill := `"` // grows in JSON
		if target.Format == v1alpha1.NetrcFormat {
			fill = "a"
		}
		target.KeepPrevious, target.Template = true, &v1alpha1.SecretTemplate{Data: data}
		c := newContent(withPrevious, func(c *Content) { c.Token.Access, c.Previous = large(fill), large("b") })
		s := mustRender(t, newOwner(withTarget(target)), c)
		if _, kept := s.Data[PreviousTokenKey]; !kept {
			t.Errorf("format %s: the previous token is not kept", target.Format)
		}
	}
}
