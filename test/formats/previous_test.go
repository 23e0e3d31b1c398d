package formats

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/token"
)

func TestAProgramReadsThePreviousTokenAndItsEnd(t *testing.T) {
	each(t, samples(), func(t *testing.T, access string) {
		c := content("current")
		c.Previous, c.PreviousExpiresAt = token.NewSecret(access), c.Token.IssuedAt.Add(time.Minute)
		s, err := target.Render(providerToken(t, "keep-previous.yaml"), c)
		if err != nil {
			t.Fatal(err)
		}
		directory := mounted(t, s)
		got, err := os.ReadFile(filepath.Join(directory, "previous-token"))
		if err != nil {
			t.Fatal(err)
		}
		same(t, string(got), access)
		end, err := os.ReadFile(filepath.Join(directory, "previous-expires-at"))
		if err != nil {
			t.Fatal(err)
		}
		if at, err := time.Parse(time.RFC3339, string(end)); err != nil || !at.Equal(c.PreviousExpiresAt) {
			t.Errorf("the end is %q: %v", end, err)
		}
	})
}
