package provider

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

const scheme = "https://"

// maxURL is the longest URL in bytes that is believed: it is shown in status, and an
// issuer's metadata can name any.
const maxURL = 2048

// splitAuthority cuts a URL behind its authority (RFC 3986 §3.2). It works on
// URLs with holes, which net/url cannot parse.
func splitAuthority(rawURL string) (authority, rest string) {
	s := strings.TrimPrefix(rawURL, scheme)
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// checkTokenURL refuses everything that could send a credential somewhere else than a
// reader of the URL thinks. The URL has no holes any more.
func checkTokenURL(raw string) error { return checkURL("tokenURL", raw) }

// checkIssuerURL is checkTokenURL for an issuer's identifier (RFC 8414 §2).
func checkIssuerURL(raw string) error {
	if strings.Contains(raw, "?") {
		return inputf("remove it (RFC 8414 §2)", "issuerURL must not hold a query")
	}
	return checkURL("issuerURL", raw)
}

// checkURL is checkTokenURL for the URL with that name.
func checkURL(name, raw string) error {
	if !strings.HasPrefix(raw, scheme) {
		return inputf("write an absolute URL", "%s must begin with %s", name, scheme)
	}
	u, err := url.Parse(raw)
	// Of what RFC 3986 appendix A leaves out, net/url takes some; none of it is shown.
	if err != nil || len(raw) > maxURL || !isVSCHAR(raw) || strings.ContainsAny(raw, " \\{}<>\"^`|") {
		// The parse error repeats the URL, so it is not passed on.
		return inputf("check its spelling, and that every {name} is a declared parameter", "%s is not a URL", name)
	}
	if u.User != nil {
		return inputf("put credentials into the credential Secret", "%s must not hold a user", name)
	}
	if strings.Contains(raw, "#") {
		return inputf("remove it (RFC 6749 §3.2)", "%s must not hold a fragment", name)
	}
	if err := checkQuery(name, u); err != nil {
		return err
	}
	return checkHost(name, u)
}

func checkQuery(name string, u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return inputf("check its spelling", "the query of %s is malformed", name)
	}
	for field := range query {
		if reservedField(field) {
			return inputf("leave it out: the operator sends it in the body (RFC 6749 §2.3.1)",
				"the query of %s must not hold %s", name, strings.ToLower(field))
		}
	}
	return nil
}

func checkHost(name string, u *url.URL) error {
	if !isHost(u.Hostname()) {
		return inputf("write a DNS name in ASCII (RFC 1123; international names as xn--) or an IP address", "%s has no usable host", name)
	}
	if strings.HasSuffix(u.Host, ":") || (u.Port() != "" && !isPort(u.Port())) {
		return inputf("write a number from 1 to 65535 or leave it out", "%s has no usable port", name)
	}
	return nil
}

func isHost(name string) bool {
	if ip, err := netip.ParseAddr(name); err == nil {
		return ip.Zone() == ""
	}
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.ToLower(name), ".") {
		if !isDNSLabel(label) {
			return false
		}
	}
	return true
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0'
}

// isDNSLabel claims that s is a label as in RFC 1123 §2.1, in lower case.
func isDNSLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if !isLower(s[i]) && !isDigit(s[i]) && s[i] != '-' {
			return false
		}
	}
	return true
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return isLower(c | 0x20) }

// URL is the token endpoint. The caller owns it.
func (r Resolved) URL() *url.URL {
	u, err := url.Parse(r.TokenURL)
	if err != nil {
		// Resolve has parsed the same text before.
		return &url.URL{}
	}
	return u
}

// Host is where the credentials go: host and port of the token endpoint, in lower
// case and with the port always there ("auth.example.com:443", "[::1]:8443").
func (r Resolved) Host() string {
	u := r.URL()
	host := strings.ToLower(u.Hostname())
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.String()
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(host, port)
}

// Account names whose login c is: where it is kept, and by which name. It is meant to be
// hashed, not shown. Two spellings that a server could take for one are one here,
// since failed logins add up at the server: the query, matrix parameters, letter
// case, percent-encoding, dot segments and a final slash do not tell endpoints apart,
// nor do letter case and blanks around it tell names apart. Whoever is taken for
// another by that has the same password at the same host.
func (r Resolved) Account(c Credentials) string {
	u := r.URL()
	host, port, _ := net.SplitHostPort(r.Host())
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	segments := strings.Split(u.Path, "/")
	for i, s := range segments {
		segments[i], _, _ = strings.Cut(s, ";")
	}
	where := net.JoinHostPort(host, port) + path.Clean("/"+strings.ToLower(strings.Join(segments, "/")))
	return where + "\n" + strings.ToLower(strings.TrimSpace(r.Identity(c)))
}

// ProvesClient tells whether the client has a secret of its own to prove, so that
// another one is another credential.
func (r Resolved) ProvesClient() bool {
	return slices.Contains(r.required(r.ReadyMade), CredClientSecret)
}
