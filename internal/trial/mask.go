package trial

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// leastSecret is the shortest secret in bytes that is looked for in a text: a shorter
	// one is found in anything. Where it belongs, it is hidden whatever its length.
	leastSecret = 4
	// gram is how much of a secret is recognised for a part of it.
	gram = 12
	// leastEncoded is the same for what is left of one in base64, without its ends.
	leastEncoded = 5
	// leastWord is how long a word with letters and digits is when it looks like a secret.
	leastWord = 20
)

// mask hides secrets in whatever is shown. What is shown is chosen by structure, field by
// field; the mask is the second line, for values that turn up where nobody expects them,
// such as a password in an error message.
type mask struct {
	// whole are secrets and their encodings, in lower case.
	whole map[string]bool
	// parts are all pieces of that many bytes of the long ones, in lower case.
	parts map[string]bool
}

func newMask() *mask { return &mask{whole: map[string]bool{}, parts: map[string]bool{}} }

// hide makes the mask know a secret in all the forms in which it may come back.
func (m *mask) hide(secret string) {
	for _, form := range forms(secret) {
		m.hideForm(form)
	}
	// Of a key in PEM each line is one, and of a JWK or a key file each member.
	if strings.Contains(secret, "\n") {
		for line := range strings.Lines(secret) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
				m.hideForm(line)
			}
		}
	}
	var members map[string]any
	if json.Unmarshal([]byte(secret), &members) == nil {
		for _, value := range members {
			if text, ok := value.(string); ok && len(text) >= gram {
				m.hide(text)
			}
		}
	}
}

// hideName hides what is no secret, but nobody's business either: whole only.
func (m *mask) hideName(name string) {
	for _, form := range forms(name) {
		if len(form) >= leastSecret {
			m.whole[lowerASCII(form)] = true
		}
	}
}

func (m *mask) hideForm(form string) {
	form = lowerASCII(form)
	if len(form) < leastSecret || m.whole[form] {
		return
	}
	m.whole[form] = true
	for i := 0; i+gram <= len(form); i++ {
		m.parts[form[i:i+gram]] = true
	}
}

// forms are the encodings in which programs repeat what they were sent.
func forms(secret string) []string {
	if secret == "" {
		return nil
	}
	all := []string{
		secret, strings.ToUpper(secret), strings.ToLower(secret), printable(secret), strings.TrimSpace(secret), url.QueryEscape(secret), url.PathEscape(secret), strings.ReplaceAll(url.QueryEscape(secret), "+", "%20"),
		hex.EncodeToString([]byte(secret)), fmt.Sprintf("%q", secret), strings.Trim(fmt.Sprintf("%q", secret), `"`), strings.Trim(fmt.Sprintf("%+q", secret), `"`),
	}
	if escaped, err := json.Marshal(secret); err == nil {
		all = append(all, strings.Trim(string(escaped), `"`))
	}
	replaced := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;").Replace(secret)
	all = append(all, replaced)
	// In base64 a text looks different by where in the whole it begins (RFC 4648 §4); what
	// its neighbours share in is left out.
	for shift := range 3 {
		padded := append(make([]byte, shift), secret...)
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			encoded := strings.TrimRight(encoding.EncodeToString(padded), "=")
			first, last := (shift*8+5)/6, len(padded)*8/6
			if last-first >= leastEncoded {
				all = append(all, encoded[first:last])
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

const hidden = "‹hidden›"

// text is s with every secret hidden, and nothing in it that steers a terminal. It looks
// before and after what a terminal would obey is dropped, which may be part of a secret.
func (m *mask) text(s string) string { return m.redacted(printable(m.redacted(s))) }

func (m *mask) redacted(s string) string {
	covered := make([]bool, len(s))
	lower := lowerASCII(s)
	for secret := range m.whole {
		for at := 0; ; at++ {
			next := strings.Index(lower[at:], secret)
			if next < 0 {
				break
			}
			at += next
			cover(covered, at, at+len(secret))
		}
	}
	for i := 0; i+gram <= len(lower); i++ {
		if m.parts[lower[i:i+gram]] {
			cover(covered, i, i+gram)
		}
	}
	return redact(s, covered)
}

func cover(covered []bool, from, to int) {
	for i := from; i < to; i++ {
		covered[i] = true
	}
}

// redact replaces each covered stretch by one word.
func redact(s string, covered []bool) string {
	var out strings.Builder
	for i := range len(s) {
		if !covered[i] {
			out.WriteByte(s[i])
			continue
		}
		if i == 0 || !covered[i-1] {
			out.WriteString(hidden)
		}
	}
	return out.String()
}

// prose is text that somebody else wrote: secrets are hidden, and every word that looks like one.
func (m *mask) prose(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return !wordy(r) })
	for _, w := range words {
		if suspicious(w) {
			s = strings.ReplaceAll(s, w, hidden)
		}
	}
	return m.text(s)
}

func wordy(r rune) bool {
	return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_+=~", r))
}

// suspicious claims that a word is long, and has both letters and digits.
func suspicious(word string) bool {
	return len(word) >= leastWord && strings.ContainsFunc(word, unicode.IsLetter) && strings.ContainsFunc(word, unicode.IsDigit)
}

// printable drops what a terminal would obey (C0, C1 and format characters); line ends stay.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			return '.'
		}
		return r
	}, s)
}

// lowerASCII keeps the length, which strings.ToLower may not.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}
