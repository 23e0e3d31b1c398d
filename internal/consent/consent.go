// Package consent reads the annotations by which an object says where it, or what
// is made of it, may go. Secrets and ServiceAccounts say it in the same words.
//
// It must not import anything of Kubernetes or of the other packages.
package consent

import (
	"net"
	"strings"
)

// Hosts tells whether annotation, the value of providertoken.dev/allowed-hosts, lists
// host (host:port, in lower case). An entry without a port means port 443.
func Hosts(annotation, host string) bool {
	for entry := range strings.SplitSeq(annotation, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(entry); err != nil {
			entry = net.JoinHostPort(strings.Trim(entry, "[]"), "443")
		}
		if entry == host {
			return true
		}
	}
	return false
}

// Audiences tells whether annotation, the value of
// providertoken.dev/allowed-audiences, lists audience, byte by byte: to whoever
// checks the claim aud, https://a and https://a/ are two (RFC 7519 section 4.1.3).
func Audiences(annotation, audience string) bool {
	for entry := range strings.SplitSeq(annotation, ",") {
		if entry = strings.TrimSpace(entry); entry != "" && entry == audience {
			return true
		}
	}
	return false
}
