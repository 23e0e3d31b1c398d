package provider

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const scheme = "https://"

// hole is how the parameter with that name is written in a TokenURL.
func hole(name string) string { return "{" + name + "}" }

// splitAuthority cuts a TokenURL behind its authority (RFC 3986 §3.2). It works on
// URLs with holes, which net/url cannot parse.
func splitAuthority(tokenURL string) (authority, rest string) {
	s := strings.TrimPrefix(tokenURL, scheme)
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// fill puts values into the holes.
func fill(tokenURL string, values map[string]string) string {
	pairs := make([]string, 0, 2*len(values))
	for name, value := range values {
		pairs = append(pairs, hole(name), value)
	}
	return strings.NewReplacer(pairs...).Replace(tokenURL)
}

// checkTokenURL refuses everything that could send a credential somewhere else than a
// reader of the URL thinks. The URL has no holes any more.
func checkTokenURL(raw string) error {
	if !strings.HasPrefix(raw, scheme) {
		return inputf("write an absolute URL", "tokenURL must begin with %s", scheme)
	}
	u, err := url.Parse(raw)
	if err != nil || !isVSCHAR(raw) || strings.ContainsAny(raw, ` \{}`) {
		// The parse error repeats the URL, so it is not passed on.
		return inputf("check its spelling, and that every {name} is a declared parameter", "tokenURL is not a URL")
	}
	if u.User != nil {
		return inputf("put credentials into the credential Secret", "tokenURL must not hold a user")
	}
	if strings.Contains(raw, "#") {
		return inputf("remove it (RFC 6749 §3.2)", "tokenURL must not hold a fragment")
	}
	if err := checkQuery(u); err != nil {
		return err
	}
	return checkHost(u)
}

func checkQuery(u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return inputf("check its spelling", "the query of tokenURL is malformed")
	}
	for name := range query {
		if reservedField(name) {
			return inputf("leave it out: the operator sends it in the body (RFC 6749 §2.3.1)",
				"the query of tokenURL must not hold %s", strings.ToLower(name))
		}
	}
	return nil
}

func checkHost(u *url.URL) error {
	if !isHost(u.Hostname()) {
		return inputf("write a DNS name in ASCII (RFC 1123; international names as xn--) or an IP address", "tokenURL has no usable host")
	}
	if strings.HasSuffix(u.Host, ":") || (u.Port() != "" && !isPort(u.Port())) {
		return inputf("write a number from 1 to 65535 or leave it out", "tokenURL has no usable port")
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
