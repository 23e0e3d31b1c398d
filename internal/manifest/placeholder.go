package manifest

import "strings"

// Placeholder claims that a text stands for what somebody else fills in: nothing,
// replace-me, <password>, ${PASSWORD}, {{ .password }}, or what SOPS encrypted.
func Placeholder(text string) bool {
	text = strings.TrimSpace(text)
	lower := strings.ToLower(text)
	for _, word := range []string{"replace-me", "replace_me", "replaceme", "changeme", "change-me", "placeholder", "redacted", "to-be-replaced"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	for _, marks := range [][2]string{{"<", ">"}, {"${", "}"}, {"{{", "}}"}, {"ENC[", "]"}, {"$(", ")"}} {
		if strings.HasPrefix(text, marks[0]) && strings.HasSuffix(text, marks[1]) {
			return true
		}
	}
	return strings.Trim(text, ".…*xX") == ""
}
