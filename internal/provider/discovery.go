package provider

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// oidcConfiguration is appended to an issuer (OpenID Connect Discovery 1.0 §4).
	oidcConfiguration = "/.well-known/openid-configuration"
	// oauthMetadata is put between an issuer's host and its path (RFC 8414 §3).
	oauthMetadata = "/.well-known/oauth-authorization-server"
)

// MetadataURLs lists where an issuer's metadata may be, in the order in which to ask:
// where OpenID Connect puts them, since most issuers follow it, then where RFC 8414
// does. The error is an *Error of kind Input: an issuer that is not an absolute https
// URL without query and fragment.
func MetadataURLs(issuer string) ([]string, error) {
	u, err := checkIssuer(issuer)
	if err != nil {
		return nil, err
	}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	base := scheme + u.Host
	return []string{base + path + oidcConfiguration, base + oauthMetadata + path}, nil
}

func checkIssuer(issuer string) (*url.URL, error) {
	u, err := url.Parse(issuer)
	if err != nil || !strings.HasPrefix(issuer, scheme) || u.Host == "" || u.User != nil ||
		strings.ContainsAny(issuer, "?#{}\\ ") || !isVSCHAR(issuer) {
		return nil, inputf("write the issuer as its metadata does, such as https://sso.example.com/realms/corp",
			"issuerURL is not an absolute https URL without user, query and fragment (RFC 8414 §2)")
	}
	return u, checkHost("issuerURL", u)
}

// MetadataRequest asks for the metadata at one of MetadataURLs. It carries no credential.
func MetadataRequest(metadataURL string) Request {
	return Request{
		Method: http.MethodGet, URL: metadataURL,
		Header: http.Header{"Accept": {"application/json"}},
		Grant:  ClientCredentials,
	}
}

// NoMetadata tells that there is no document at that URL, so that the next one may be tried.
func NoMetadata(a Answer) bool {
	return a.Status == http.StatusNotFound || a.Status == http.StatusGone || a.Status == http.StatusMethodNotAllowed
}

// DecodeMetadata reads an issuer's metadata. It believes them only if they name
// exactly that issuer (RFC 8414 §3.3), or else whoever controls one path of a host
// could speak for another. The error is an *Error: Misconfigured, or Unavailable for
// an answer that is none.
func DecodeMetadata(issuer string, a Answer) (Metadata, error) {
	if a.Status != http.StatusOK {
		return Metadata{}, metadataRefusal(a)
	}
	document, ok := parseObject(a.Body)
	if !ok {
		return Metadata{}, nonsense(a, "the issuer's metadata are not a JSON object", "check that issuerURL is an issuer")
	}
	if stated, _ := document["issuer"].(string); stated != issuer {
		return Metadata{}, misconfigured(a, "the metadata name another issuer (RFC 8414 §3.3)",
			"write issuerURL exactly as the issuer writes itself, with or without a slash at its end")
	}
	m := Metadata{Issuer: issuer}
	m.TokenEndpoint, _ = document["token_endpoint"].(string)
	if m.TokenEndpoint == "" {
		return Metadata{}, misconfigured(a, "the metadata name no token_endpoint", "set tokenURL instead of issuerURL")
	}
	if checkTokenURL(m.TokenEndpoint) != nil {
		return Metadata{}, misconfigured(a, "the metadata name a token_endpoint that is not a usable https URL", "set tokenURL instead of issuerURL")
	}
	aliases, _ := document["mtls_endpoint_aliases"].(object)
	m.MTLSTokenEndpoint, _ = aliases["token_endpoint"].(string)
	if m.MTLSTokenEndpoint != "" && checkTokenURL(m.MTLSTokenEndpoint) != nil {
		return Metadata{}, misconfigured(a, "the metadata name a token_endpoint for mutual TLS that is not a usable https URL", "set tokenURL instead of issuerURL")
	}
	return m, nil
}

func metadataRefusal(a Answer) *Error {
	e := &Error{Kind: Unavailable, Status: a.Status, RetryAfter: retryAfter(a), Problem: "the issuer's metadata cannot be read"}
	switch {
	case a.Status == http.StatusTooManyRequests, a.Status == http.StatusServiceUnavailable && e.RetryAfter > 0:
		e.Kind = Throttled
	case a.Status >= 300 && a.Status <= 399:
		e.Kind = Misconfigured
		e.Fix = "set issuerURL to where it redirects, if that is to be trusted"
	case a.Status >= 400 && a.Status <= 499 && a.Status != http.StatusRequestTimeout && a.Status != http.StatusTooEarly:
		e.Kind = Misconfigured
		e.Fix = "correct issuerURL, or set tokenURL instead"
	}
	e.Problem += because(e)
	return e
}

func misconfigured(a Answer, problem, fix string) *Error {
	return &Error{Kind: Misconfigured, Status: a.Status, Problem: problem, Fix: fix}
}

// MetadataLifetime is how long metadata are believed without asking again.
const MetadataLifetime = time.Hour
