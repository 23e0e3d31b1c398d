package provider

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/providertoken/operator/internal/token"
)

const formContentType = "application/x-www-form-urlencoded"

// RequestInput is what one request is made from, besides the definition.
type RequestInput struct {
	Credentials Credentials
	// RefreshToken makes the request a refresh (RFC 6749 §6) unless it is zero.
	// Scopes, audience and resources then stay what they were when it was issued.
	RefreshToken token.Secret
	// Scopes to ask for; the definition's when nil, none when empty.
	Scopes []string
	// Audience is sent as audience (RFC 8693 §2.1); empty for none.
	Audience string
	// Resources are sent as resource, each by itself (RFC 8707 §2).
	Resources []string
	// Now is when a signed assertion begins to live.
	Now time.Time
	// ID is fresh for each request: the jti of a signed assertion (RFC 7519 §4.1.7).
	ID string
}

// Request is one HTTP request to a token endpoint. Body and header hold
// credentials; printing or logging a Request shows method and URL only.
type Request struct {
	Method, URL string
	Header      http.Header
	Body        token.Secret
	// Grant is the definition's, or RefreshToken. Decode needs it to tell what a refusal means.
	Grant Grant
	// Certificate is what the client shows in the TLS handshake; nil for none.
	Certificate *Certificate
}

// Certificate is a client's certificate chain with its key (RFC 8705 §2).
type Certificate struct {
	// Chain is PEM, the client's own certificate first.
	Chain string
	// Key is its private key in PEM: PKCS #8, PKCS #1 or SEC 1.
	Key token.Secret
}

// String implements fmt.Stringer.
func (r Request) String() string { return r.Method + " " + r.URL }

// Format implements fmt.Formatter, so that no verb reaches header and body.
func (r Request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue implements slog.LogValuer.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalLog implements logr.Marshaler.
func (r Request) MarshalLog() any { return r.String() }

// NewRequest builds the one request that asks for a token. The body's fields have a
// fixed order, so the same input gives the same bytes. Errors are *Error of kind
// Input: a missing credential, one that cannot be sent, or a wish that this
// endpoint has no place for. They name keys, never values.
func (r Resolved) NewRequest(in RequestInput) (Request, error) {
	d := &draft{resolved: r, in: in, header: http.Header{}}
	build, grant := d.primary, r.Grant
	if !in.RefreshToken.IsZero() {
		build, grant = d.refresh, RefreshToken
	}
	if err := build(); err != nil {
		return Request{}, err
	}
	d.setHeaders()
	return Request{
		Method: r.Request.Method,
		URL:    r.TokenURL,
		Header: d.header,
		Body:   token.NewSecret(d.encode()),
		Grant:  grant,
	}, nil
}

// draft is a request in the making.
type draft struct {
	resolved Resolved
	in       RequestInput
	header   http.Header
	fields   []field
}

type field struct{ name, value string }

func (d *draft) add(name, value string) { d.fields = append(d.fields, field{name, value}) }

// encode writes the fields as application/x-www-form-urlencoded, in their order.
func (d *draft) encode() string {
	if d.hasNoBody() {
		return ""
	}
	pairs := make([]string, 0, len(d.fields))
	for _, f := range d.fields {
		pairs = append(pairs, url.QueryEscape(f.name)+"="+url.QueryEscape(f.value))
	}
	return strings.Join(pairs, "&")
}

func (d *draft) hasNoBody() bool { return d.resolved.Request.Method == http.MethodGet }

func (d *draft) setHeaders() {
	d.header.Set("Accept", "application/json")
	if !d.hasNoBody() {
		d.header.Set("Content-Type", formContentType)
	}
	for name, value := range d.resolved.Request.Headers {
		d.header.Set(name, value)
	}
}

// primary asks with the credentials themselves (RFC 6749 §4.3, §4.4).
func (d *draft) primary() error {
	if err := checkTargets(d.in); err != nil {
		return err
	}
	if d.hasNoBody() && (len(d.in.Scopes) > 0 || d.in.Audience != "" || len(d.in.Resources) > 0) {
		return inputf("leave them out", "this endpoint takes neither scopes nor an audience nor resources")
	}
	if err := d.addGrant(); err != nil {
		return err
	}
	d.addScopes()
	if err := d.authenticateClient(); err != nil {
		return err
	}
	d.addTargets()
	return nil
}

// refresh asks with a refresh token (RFC 6749 §6), and with no scope: what was
// granted stays granted.
func (d *draft) refresh() error {
	if d.resolved.UseRefreshToken == Never {
		return inputf("use the credentials instead", "this definition does not use refresh tokens")
	}
	refresh := d.in.RefreshToken.Reveal()
	if !isVSCHAR(refresh) {
		return inputf("use the credentials instead", "the refresh token holds characters that cannot be sent (RFC 6749 appendix A.17)")
	}
	d.add("grant_type", "refresh_token")
	d.add("refresh_token", refresh)
	return d.authenticateClient()
}

func (d *draft) addGrant() error {
	if d.resolved.Grant == ClientCredentials {
		d.add("grant_type", "client_credentials")
		return nil
	}
	username, err := d.credential(CredUsername)
	if err != nil {
		return err
	}
	password, err := d.credential(CredPassword)
	if err != nil {
		return err
	}
	if d.resolved.Request.Login == LoginInBasicHeader {
		return d.setBasic(CredUsername, username, password)
	}
	d.add(CredUsername, username)
	d.add(CredPassword, password)
	d.add("grant_type", "password")
	return nil
}

func (d *draft) addScopes() {
	scopes := d.resolved.Scopes
	if d.in.Scopes != nil {
		scopes = d.in.Scopes
	}
	if len(scopes) > 0 {
		d.add("scope", strings.Join(scopes, " "))
	}
}

// addTargets adds audience, resources and the definition's further fields. What
// the user asks for replaces a field of the same name.
func (d *draft) addTargets() {
	asked := map[string]bool{"audience": d.in.Audience != "", "resource": len(d.in.Resources) > 0}
	if d.in.Audience != "" {
		d.add("audience", d.in.Audience)
	}
	for _, resource := range d.in.Resources {
		d.add("resource", resource)
	}
	for _, name := range slices.Sorted(maps.Keys(d.resolved.FormParameters)) {
		if !asked[name] {
			d.add(name, d.resolved.FormParameters[name])
		}
	}
}

// authenticateClient adds the proof that ClientAuthentication names.
func (d *draft) authenticateClient() error {
	id, err := d.clientID()
	if err != nil {
		return err
	}
	if d.resolved.ClientAuthentication == None {
		if id != "" && d.resolved.Request.Login == LoginInBody {
			d.add(CredClientID, id)
		}
		return nil
	}
	secret, err := d.credential(CredClientSecret)
	if err != nil {
		return err
	}
	switch d.resolved.ClientAuthentication {
	case SecretPost:
		d.add(CredClientID, id)
		d.add(CredClientSecret, secret)
		return nil
	case SecretJWT:
		return d.addAssertion(id, secret)
	default:
		return d.setBasic(CredClientID, id, secret)
	}
}

// clientID is the credential, else the definition's. A public client may have none.
func (d *draft) clientID() (string, error) {
	given := !d.in.Credentials[CredClientID].IsZero()
	known := d.resolved.ClientID != "" || d.resolved.ClientAuthentication == None
	if !given && known {
		return d.resolved.ClientID, nil
	}
	return d.credential(CredClientID)
}

func (d *draft) credential(name string) (string, error) {
	return d.resolved.credential(d.in.Credentials, name)
}

// setBasic authenticates by RFC 7617: raw, or with both parts form-encoded first
// (RFC 6749 §2.3.1).
func (d *draft) setBasic(userKey, user, password string) error {
	if d.resolved.Request.BasicEncoding == FormEncoded {
		user, password = url.QueryEscape(user), url.QueryEscape(password)
	}
	if strings.Contains(user, ":") {
		return inputf("check which value belongs under that key",
			"the credential %s holds a colon, which a Basic header cannot carry (RFC 7617 §2)", d.resolved.called(userKey))
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	d.header.Set("Authorization", "Basic "+encoded)
	return nil
}
