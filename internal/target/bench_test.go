package target

import (
	"fmt"
	"testing"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// shapes are the targets that are rendered and looked at most.
func shapes() map[string]*v1alpha1.ProviderToken {
	return map[string]*v1alpha1.ProviderToken{
		"default": newOwner(),
		"previous": newOwner(withTarget(v1alpha1.Target{
			KeepPrevious: true,
		})),
		"template": newOwner(withData(map[string]v1alpha1.TemplateText{
			"config.yaml": "token: {{ .token }}\nexpires: {{ .expiresAt }}\n",
		})),
	}
}

// withJWT gives the token the length of a usual one.
func withJWT(c *Content) {
	c.Token.Access = token.NewSecret(fmt.Sprintf("%0900d", 7))
}

func BenchmarkRender(b *testing.B) {
	for name, owner := range shapes() {
		b.Run("target="+name, func(b *testing.B) {
			c := newContent(withJWT)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Render(owner, c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkObserve(b *testing.B) {
	for name, owner := range shapes() {
		b.Run("target="+name, func(b *testing.B) {
			s, err := Render(owner, newContent(withJWT))
			if err != nil {
				b.Fatal(err)
			}
			s = published(s)
			b.ReportAllocs()
			for b.Loop() {
				if o := Observe(owner, s); !o.Intact {
					b.Fatal("it was changed")
				}
			}
		})
	}
}

func BenchmarkMatches(b *testing.B) {
	for name, owner := range shapes() {
		b.Run("target="+name, func(b *testing.B) {
			want, err := Render(owner, newContent(withJWT))
			if err != nil {
				b.Fatal(err)
			}
			have := published(want)
			b.ReportAllocs()
			for b.Loop() {
				if !Matches(have, want) {
					b.Fatal("it does not match")
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	for name, owner := range shapes() {
		b.Run("target="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := Check(owner.Spec.Target); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
