package world

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"testing"
)

func TestALeakIsFoundHoweverItIsWritten(t *testing.T) {
	const secret = `pa/ss+wörd "12<3`
	for name, written := range map[string]string{
		"as it is":                     secret,
		"quoted by Go":                 `password=` + secret,
		"as JSON":                      `{"password":"pa/ss+wörd \"12\u003c3"}`,
		"in a URL":                     "https://example.com/?p=" + url.QueryEscape(secret),
		"in a path":                    "https://example.com/" + url.PathEscape(secret),
		"in base64":                    base64.StdEncoding.EncodeToString([]byte(secret)),
		"behind a name, in base64":     base64.StdEncoding.EncodeToString([]byte("me:" + secret)),
		"behind an id, in base64":      base64.StdEncoding.EncodeToString([]byte("id42:" + secret)),
		"between others, in base64":    base64.StdEncoding.EncodeToString([]byte("a" + secret + "zzz")),
		"for URLs, in base64":          base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"in hex":                       hex.EncodeToString([]byte(secret)),
		"in the middle of a long line": fmt.Sprintf("%4000s%s%4000s", "", secret, ""),
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLeaks()
			l.Text("log", []byte("before it was known: "+written+"."))
			l.Secret(secret, "a password")
			if found := l.Find(); len(found) == 0 {
				t.Errorf("not found in %q", written)
			}
		})
	}
}

func TestWhatIsNoSecretIsNoLeak(t *testing.T) {
	l := NewLeaks()
	l.Secret("correct horse battery staple", "a password")
	l.Secret("short", "too short to tell")
	l.Secret("a client's id that its provider's definition holds", "an id")
	l.Public("a client's id that its provider's definition holds")
	l.Text("log", []byte("correct horse battery stapl, short, a client's id that its provider's definition holds"))
	if found := l.Find(); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	if secrets, text := l.Sum(); secrets != 2 || text["log"] == 0 {
		t.Errorf("noted %d secrets and %v", secrets, text)
	}
}
