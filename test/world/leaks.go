package world

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// shortest is the length of what counts as a secret: shorter values turn up by chance.
const shortest = 8

// Leaks knows every secret that went by in a suite, and everything that was
// written where people read. At the suite's end the one is searched for the other,
// so that a log line counts that was written before its secret was known.
type Leaks struct {
	mu      sync.Mutex
	secrets map[string]string
	// texts are what people can read, by where it was found.
	texts map[string]*bytes.Buffer
	// public is what users wrote down for everybody to read.
	public map[string]bool
}

// besideData is the one place where what a provider said may be: the annotations of a
// target keep the granted scopes and the token's type, and who reads them may read the
// token. Credentials must not be there, either.
const (
	besideData = "metadata of a Secret"
	ofAnswer   = " of an answer"
)

// dumps are rows of hex dumps, as client-go writes bodies that are no text.
var dumps = regexp.MustCompile(`[0-9a-f]{8} {1,2}((?:[0-9a-f]{2} {1,2}){1,16})`)

// Leak is a secret that turned up. It does not hold the secret itself.
type Leak struct {
	// Secret tells what it is, and Place where it was found.
	Secret, Place string
	// Around is the text before it.
	Around string
}

func (l Leak) String() string {
	return fmt.Sprintf("%s in %s, after %q", l.Secret, l.Place, l.Around)
}

// NewLeaks knows nothing yet.
func NewLeaks() *Leaks {
	return &Leaks{secrets: map[string]string{}, texts: map[string]*bytes.Buffer{}, public: map[string]bool{}}
}

// Secret takes note of a value that must not turn up anywhere; what says what it is.
func (l *Leaks) Secret(value, what string) {
	value = strings.TrimSpace(value)
	if len(value) < shortest {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.secrets[value]; !known {
		l.secrets[value] = what
	}
}

// Public takes note of a value that users themselves wrote into a spec.
func (l *Leaks) Public(value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.public[value] = true
}

// Text takes note of what people can read at a place.
func (l *Leaks) Text(place string, text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.texts[place]
	if b == nil {
		b = new(bytes.Buffer)
		l.texts[place] = b
	}
	b.Write(text)
	b.WriteByte('\n')
}

// Writer is a place that is written to, such as a log.
func (l *Leaks) Writer(place string) *LeakWriter { return &LeakWriter{leaks: l, place: place} }

// LeakWriter is one of the places of Leaks.
type LeakWriter struct {
	leaks *Leaks
	place string
}

// Write implements io.Writer.
func (w *LeakWriter) Write(p []byte) (int, error) {
	w.leaks.Text(w.place, p)
	return len(p), nil
}

// Sum tells how much there is to search, and for how much.
func (l *Leaks) Sum() (secrets int, bytesByPlace map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	bytesByPlace = map[string]int{}
	for place, b := range l.texts {
		bytesByPlace[place] = b.Len()
	}
	return len(l.secrets), bytesByPlace
}

// Find searches everything that was noted for every secret: as it is, and as it
// looks in JSON, in a URL, in base64 (also as a part of something longer) and in hex.
func (l *Leaks) Find() []Leak {
	l.mu.Lock()
	defer l.mu.Unlock()
	type needle struct{ text, what string }
	byStart := map[[shortest]byte][]needle{}
	for value, what := range l.secrets {
		if l.public[value] {
			continue
		}
		for form, text := range forms(value) {
			if len(text) < shortest {
				continue
			}
			start := [shortest]byte([]byte(text[:shortest]))
			byStart[start] = append(byStart[start], needle{text: text, what: what + form})
		}
	}
	var found []Leak
	for place, text := range l.readable() {
		for i := 0; i+shortest <= len(text); i++ {
			for _, n := range byStart[[shortest]byte(text[i:i+shortest])] {
				if bytes.HasPrefix(text[i:], []byte(n.text)) && (place != besideData || !strings.Contains(n.what, ofAnswer)) {
					found = append(found, Leak{Secret: n.what, Place: place, Around: string(text[max(0, i-160):i])})
				}
			}
		}
	}
	return found
}

// readable is everything that was noted, also what hex dumps hold.
func (l *Leaks) readable() map[string][]byte {
	all := map[string][]byte{}
	for place, b := range l.texts {
		all[place] = b.Bytes()
		var dumped []byte
		for _, row := range dumps.FindAllSubmatch(b.Bytes(), -1) {
			dumped = append(dumped, bytes.ReplaceAll(row[1], []byte(" "), nil)...)
		}
		decoded := make([]byte, hex.DecodedLen(len(dumped)))
		n, _ := hex.Decode(decoded, dumped)
		if n > 0 {
			all["hex dumps in "+place] = decoded[:n]
		}
	}
	return all
}

// forms are the ways in which a value can be written.
func forms(value string) map[string]string {
	all := map[string]string{"": value, ", in hex": hex.EncodeToString([]byte(value))}
	add := func(form, text string) {
		if text != value {
			all[form] = text
		}
	}
	if quoted, err := json.Marshal(value); err == nil {
		add(", as JSON", string(quoted[1:len(quoted)-1]))
	}
	add(", in a URL", url.QueryEscape(value))
	add(", in a path", url.PathEscape(value))
	// Three bytes become four characters: where the value begins within them decides
	// how it looks. The first and the last characters depend on what is around it.
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + value))
		skip := []int{0, 2, 3}[shift]
		text = text[skip : len(text)-1]
		all[fmt.Sprintf(", in base64 (%d)", shift)] = text
		if safe := strings.NewReplacer("+", "-", "/", "_").Replace(text); safe != text {
			all[fmt.Sprintf(", in URL-safe base64 (%d)", shift)] = safe
		}
	}
	return all
}
