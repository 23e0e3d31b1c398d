package trial_test

import (
	"strings"
	"testing"

	"github.com/providertoken/operator/internal/trial"
)

func TestAPieceOfASecretIsHiddenToo(t *testing.T) {
	const secret = "0123456789abcdefghijklmnopqrstuvwxyz"
	m := trial.NewMask(secret)
	for _, piece := range []string{secret[:20], secret[7:25], secret[24:]} {
		shown := m.Text("it begins with " + piece + " or so")
		if strings.Contains(shown, piece) || !strings.Contains(shown, "it begins with ‹hidden› or so") {
			t.Errorf("%q is shown as %q", piece, shown)
		}
	}
}

func TestSecretsThatOverlapAreHiddenWhole(t *testing.T) {
	m := trial.NewMask("aabbaabb")
	if shown := m.Text("x aabbaabbaabb y"); shown != "x ‹hidden› y" {
		t.Errorf("got %q", shown)
	}
}

func TestWordsOfAProviderThatLookLikeSecretsAreHidden(t *testing.T) {
	m := trial.NewMask("unrelated")
	for text, want := range map[string]string{
		"Invalid user credentials":                                "Invalid user credentials",
		"see https://docs.example.com/errors/invalid_client":      "see https://docs.example.com/errors/invalid_client",
		"AADSTS7000215: Invalid client secret provided":           "AADSTS7000215: Invalid client secret provided",
		"token gho_16C7e42F292c6912E7710c838347Ae178B4a is wrong": "token ‹hidden› is wrong",
		"\x1b]0;title\x07 and \u202eback":                         ".]0;title. and .back",
	} {
		if got := m.Prose(text); got != want {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
}
