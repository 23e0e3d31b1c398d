package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Answer is one HTTP answer of a token endpoint. Its body holds tokens; printing or
// logging an Answer shows the status only.
type Answer struct {
	Status int
	Header http.Header
	// Body is the whole body, already decompressed and limited in size.
	Body []byte
	// SentAt is when the request began to be sent, ReceivedAt when the answer was there.
	SentAt, ReceivedAt time.Time
}

// String implements fmt.Stringer.
func (a Answer) String() string { return "HTTP " + strconv.Itoa(a.Status) }

// Format implements fmt.Formatter, so that no verb reaches header and body.
func (a Answer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, a.String()) }

// LogValue implements slog.LogValuer.
func (a Answer) LogValue() slog.Value { return slog.StringValue(a.String()) }

// MarshalLog implements logr.Marshaler.
func (a Answer) MarshalLog() any { return a.String() }

// MarshalJSON always fails: an answer that is about to be serialised is a bug.
func (a Answer) MarshalJSON() ([]byte, error) {
	return nil, errors.New("provider: an answer must not be marshalled")
}

// object is a JSON object with numbers as json.Number, or a form with string values.
type object = map[string]any

// parseBody reads a body by what it is: a JSON object whatever the Content-Type
// says, else a form. False when it is neither, or when a name occurs twice so
// that two readers could disagree on what it says (RFC 8259 §4).
func parseBody(body []byte, contentType string) (object, bool) {
	content := bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\uFEFF")))
	if len(content) == 0 {
		return nil, false
	}
	if content[0] == '{' {
		return parseObject(content)
	}
	return parseForm(string(content), contentType)
}

func parseObject(content []byte) (object, bool) {
	// Valid refuses trailing garbage, which a Decoder would leave unread.
	if !json.Valid(content) {
		return nil, false
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	value, ok := readValue(decoder)
	if !ok {
		return nil, false
	}
	members, ok := value.(object)
	return members, ok
}

// readValue reads one value of a valid JSON text; false when a member name repeats.
func readValue(decoder *json.Decoder) (any, bool) {
	first, err := decoder.Token()
	if err != nil {
		return nil, false
	}
	switch first {
	case json.Delim('{'):
		return readMembers(decoder)
	case json.Delim('['):
		return readElements(decoder)
	}
	return first, true
}

func readMembers(decoder *json.Decoder) (any, bool) {
	members := object{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, false
		}
		key, _ := name.(string)
		if _, twice := members[key]; twice {
			return nil, false
		}
		value, ok := readValue(decoder)
		if !ok {
			return nil, false
		}
		members[key] = value
	}
	_, err := decoder.Token()
	return members, err == nil
}

func readElements(decoder *json.Decoder) (any, bool) {
	elements := []any{}
	for decoder.More() {
		value, ok := readValue(decoder)
		if !ok {
			return nil, false
		}
		elements = append(elements, value)
	}
	_, err := decoder.Token()
	return elements, err == nil
}

// parseForm takes anything that says it is a form, and what does not say so only
// if it has a member that a token answer must have, and names only that can be
// members: a link in HTML parses as a form too.
func parseForm(content, contentType string) (object, bool) {
	values, err := url.ParseQuery(content)
	if err != nil {
		return nil, false
	}
	mediaType, _, _ := mime.ParseMediaType(contentType)
	if mediaType != formContentType && !values.Has("access_token") && !values.Has("error") {
		return nil, false
	}
	members := make(object, len(values))
	for name, all := range values {
		if len(all) > 1 || !onlyOf(name, "-_.") {
			return nil, false
		}
		members[name] = all[0]
	}
	return members, true
}

// isPointer claims that s is a JSON pointer (RFC 6901 §3) to something inside the document.
func isPointer(s string) bool {
	if !strings.HasPrefix(s, "/") || !isText(s) {
		return false
	}
	for i := range len(s) {
		if s[i] == '~' && (i+1 == len(s) || (s[i+1] != '0' && s[i+1] != '1')) {
			return false
		}
	}
	return true
}

// lookup evaluates a JSON pointer (RFC 6901 §4); nil when it points to nothing, or to null.
func lookup(document object, pointer string) any {
	var value any = document
	for reference := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		name := strings.NewReplacer("~1", "/", "~0", "~").Replace(reference)
		switch container := value.(type) {
		case object:
			value = container[name]
		case []any:
			value = element(container, name)
		default:
			return nil
		}
	}
	return value
}

func element(elements []any, index string) any {
	i, err := strconv.ParseUint(index, 10, 31)
	if err != nil || i >= uint64(len(elements)) {
		return nil
	}
	return elements[i]
}
