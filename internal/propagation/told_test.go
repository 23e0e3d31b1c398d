package propagation

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/mounts"
)

func TestToldForgetsWhatIsNoLongerRead(t *testing.T) {
	reads := map[string]mounts.Reading{"a": {Mounted: true}, "b": {Mounted: true}}
	if got := parseTold("b=2,gone=9").with("a", "10", reads); got != "a=10,b=2" {
		t.Errorf("got %q", got)
	}
	if got := parseTold("a=2").with("a", "10", reads); got != "a=10" {
		t.Errorf("got %q", got)
	}
}

func TestToldIgnoresWhatItDoesNotUnderstand(t *testing.T) {
	for value, want := range map[string]told{
		"":                {},
		"nonsense":        {},
		"=1,a=,,b=2,c":    {"b": "2"},
		"a=1,a=2":         {"a": "2"},
		"up42-token=1234": {"up42-token": "1234"},
	} {
		if diff := cmp.Diff(want, parseTold(value)); diff != "" {
			t.Errorf("%q: %s", value, diff)
		}
	}
}

func TestOlderComparesNumbers(t *testing.T) {
	if !older("9", "10") || older("10", "9") || older("10", "10") {
		t.Error("resource versions are numbers, not text")
	}
	if older("", "10") || older("x", "10") {
		t.Error("what is no version is not older")
	}
}
