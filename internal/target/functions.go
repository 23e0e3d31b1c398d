package target

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"text/template"
)

const (
	// maxValue is how long, in bytes, a value made by a function may be.
	maxValue = 64 << 10
	// maxWork is how many bytes all functions of one rendering may read and make
	// together. It bounds time and memory, whatever a template nests.
	maxWork = 16 << 20
	// maxIndent is the widest indentation.
	maxIndent = 64
)

// allowance is what is left of maxWork. Each function asks for its work before
// it does it.
type allowance struct{ left int }

// functions are the published functions that the engine does not bring itself,
// and replacements for those of its own that have no bounds. Arguments are in
// the order in which pipelines need them: the value last.
func (a *allowance) functions() template.FuncMap {
	return template.FuncMap{
		"b64enc":        a.b64enc,
		"default":       defaultTo,
		"indent":        a.indent,
		"index":         index,
		"join":          a.join,
		"lower":         a.lower,
		"percentEncode": a.percentEncode,
		"print":         a.print,
		"printf":        a.printf,
		"quote":         a.quote,
		"replace":       a.replace,
		"toJson":        a.toJSON,
		"trim":          a.trim,
		"trimPrefix":    a.trimPrefix,
		"trimSuffix":    a.trimSuffix,
		"upper":         a.upper,
		"urlquery":      a.urlquery,
	}
}

// knownFunctions are all functions that templates may name; the engine's call,
// html, js and println are not among them.
func knownFunctions() map[string]any {
	known := map[string]any{}
	maps.Copy(known, (&allowance{}).functions())
	for _, builtin := range []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "slice"} {
		known[builtin] = true
	}
	return known
}

// spend takes work off the allowance.
func (a *allowance) spend(work int) error {
	if work > a.left {
		return &overflow{what: "takes too much work"}
	}
	a.left -= work
	return nil
}

// made is what a function returns: s, unless it grew too long.
func (a *allowance) made(s string) (string, error) {
	if len(s) > maxValue {
		return "", &overflow{what: "makes a value of more than 64 KiB"}
	}
	return s, a.spend(len(s))
}

// apply is a function whose result is not much longer than its argument.
func (a *allowance) apply(f func(string) string, s string) (string, error) {
	if err := a.spend(len(s)); err != nil {
		return "", err
	}
	return a.made(f(s))
}

func (a *allowance) b64enc(s string) (string, error) {
	return a.apply(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }, s)
}

func (a *allowance) lower(s string) (string, error) { return a.apply(strings.ToLower, s) }

func (a *allowance) upper(s string) (string, error) { return a.apply(strings.ToUpper, s) }

func (a *allowance) trim(s string) (string, error) { return a.apply(strings.TrimSpace, s) }

func (a *allowance) urlquery(s string) (string, error) { return a.apply(url.QueryEscape, s) }

// percentEncode is for every part of a URL, the user information included, where
// urlquery's "+" for a blank would be a plus sign.
func (a *allowance) percentEncode(s string) (string, error) { return a.apply(percentEncoded, s) }

// percentEncoded leaves only what RFC 3986 §2.3 calls unreserved.
func percentEncoded(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&0xF])
	}
	return b.String()
}

func (a *allowance) trimPrefix(prefix, s string) (string, error) {
	return a.made(strings.TrimPrefix(s, prefix))
}

func (a *allowance) trimSuffix(suffix, s string) (string, error) {
	return a.made(strings.TrimSuffix(s, suffix))
}

// replace counts first: a short s can become gigabytes.
func (a *allowance) replace(old, with, s string) (string, error) {
	grown := len(s) + strings.Count(s, old)*len(with)
	if err := a.spend(grown); err != nil {
		return "", err
	}
	return a.made(strings.ReplaceAll(s, old, with))
}

func (a *allowance) indent(width int, s string) (string, error) {
	if width < 0 || width > maxIndent {
		return "", fmt.Errorf("indent goes from 0 to %d", maxIndent)
	}
	pad := strings.Repeat(" ", width)
	padded, err := a.replace("\n", "\n"+pad, s)
	if err != nil {
		return "", err
	}
	return a.made(pad + padded)
}

func (a *allowance) join(separator string, list []string) (string, error) {
	if err := a.spend(size(list) + len(list)*len(separator)); err != nil {
		return "", err
	}
	return a.made(strings.Join(list, separator))
}

// quote makes a JSON string, which YAML reads as well.
func (a *allowance) quote(s string) (string, error) { return a.toJSON(s) }

func (a *allowance) toJSON(v any) (string, error) {
	const longestEscape = len(`\u0000`)
	if err := a.spend(longestEscape * size(v)); err != nil {
		return "", err
	}
	encoded, err := compactJSON(v)
	if err != nil {
		return "", errors.New("toJson cannot encode this value")
	}
	return a.made(encoded)
}

func (a *allowance) print(args ...any) (string, error) {
	if err := a.spend(sizes(args)); err != nil {
		return "", err
	}
	return a.made(fmt.Sprint(args...))
}

// printf knows plain verbs only: a width would make any length out of nothing.
func (a *allowance) printf(format string, args ...any) (string, error) {
	if !plainVerbs(format) {
		return "", errors.New("printf knows %s, %q, %d, %v, %t and %%, without flags and widths")
	}
	const longestEscape = len(`\x00`)
	if err := a.spend(len(format) + longestEscape*sizes(args)); err != nil {
		return "", err
	}
	return a.made(fmt.Sprintf(format, args...))
}

func plainVerbs(format string) bool {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		i++
		if i == len(format) || !strings.ContainsRune("sqdvt%", rune(format[i])) {
			return false
		}
	}
	return true
}

// index takes one out of a list. The engine's own would take "<no value>" out
// of the variables for a name that does not exist.
func index(list []string, i int) (string, error) {
	if i < 0 || i >= len(list) {
		return "", errors.New("index is out of range")
	}
	return list[i], nil
}

// defaultTo is given, or fallback if given is empty.
func defaultTo(fallback, given any) any {
	if truth, ok := template.IsTrue(given); ok && truth {
		return given
	}
	return fallback
}

// size is an upper bound of how long v is when printed without escapes.
func size(v any) int {
	const scalar, separator = 64, 4
	switch v := v.(type) {
	case string:
		return len(v) + separator
	case []string:
		total := separator
		for _, s := range v {
			total += len(s) + separator
		}
		return total
	case map[string]any:
		total := separator
		for k, e := range v {
			total += len(k) + separator + size(e)
		}
		return total
	default:
		return scalar
	}
}

func sizes(values []any) int {
	total := 0
	for _, v := range values {
		total += size(v)
	}
	return total
}
