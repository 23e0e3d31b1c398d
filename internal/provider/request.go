package provider

import (
	"cmp"
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

const (
	formContentType = "application/x-www-form-urlencoded"
	jsonContentType = "application/json"
)

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
	// Dated is true when it holds a statement that we signed, which is good for a while around RequestInput.Now.
	Dated bool
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
// fixed order, so the same input gives the same bytes, but for what a signature with
// ECDSA or PSS adds. Errors are *Error of kind Input: a missing credential, one that
// cannot be sent, or a wish that this endpoint has no place for. They name keys, never values.
//
// With the grant RefreshToken, RefreshToken of the input stands for the credential of that name.
func (r Resolved) NewRequest(in RequestInput) (Request, error) {
	if r.NeedsDiscovery() {
		return Request{}, inputf("ask the issuer first", "the token endpoint is not known yet")
	}
	d := &draft{resolved: r, in: in, header: http.Header{}}
	build, grant := d.primary, r.Grant
	if !in.RefreshToken.IsZero() && grant != RefreshToken {
		build, grant = d.refresh, RefreshToken
	}
	if err := build(); err != nil {
		return Request{}, err
	}
	body, err := d.encode()
	if err != nil {
		return Request{}, err
	}
	if err := d.setHeaders(body != ""); err != nil {
		return Request{}, err
	}
	return Request{
		Method:      r.Request.Method,
		URL:         r.TokenURL,
		Header:      d.header,
		Body:        token.NewSecret(body),
		Grant:       grant,
		Certificate: d.shown,
		Dated:       d.dated,
	}, nil
}

// draft is a request in the making.
type draft struct {
	resolved Resolved
	in       RequestInput
	header   http.Header
	fields   []field
	// members are those of a JSON body beside the fields.
	members map[string]any
	// shown is the certificate of the handshake.
	shown *Certificate
	// dated is set when something was signed.
	dated bool
}

func (d *draft) setHeaders(body bool) error {
	d.header.Set("Accept", "application/json")
	if body {
		d.header.Set("Content-Type", d.contentType())
	}
	for _, name := range slices.Sorted(maps.Keys(d.resolved.Request.Headers)) {
		value, err := d.text(d.resolved.Request.Headers[name])
		if err != nil {
			return err
		}
		if !isHeaderValue(value) {
			return inputf("use credentials of printable ASCII without spaces around them there",
				"the request header %s would hold characters that cannot be sent", http.CanonicalHeaderKey(name))
		}
		d.header.Set(name, value)
	}
	return nil
}

// text fills the holes of credentials.
func (d *draft) text(text string) (string, error) {
	var first error
	filled := expand(text, func(name string) (string, bool) {
		value, err := d.held(name)
		if err != nil && first == nil {
			first = err
		}
		return value, true
	})
	return filled, first
}

// held is the credential in a hole.
func (d *draft) held(name string) (string, error) {
	if name == CredClientID && d.in.Credentials[name].IsZero() && d.resolved.ClientID != "" {
		return d.resolved.ClientID, nil
	}
	return d.credential(name)
}

// primary asks with the credentials themselves.
func (d *draft) primary() error {
	if err := d.checkWishes(); err != nil {
		return err
	}
	if err := d.addGrant(); err != nil {
		return err
	}
	if scopes := d.scopes(); d.resolved.Request.Scopes == ScopesInBody && len(scopes) > 0 {
		d.add("scope", strings.Join(scopes, " "))
	}
	if err := d.authenticateClient(); err != nil {
		return err
	}
	return d.addTargets()
}

// checkWishes refuses what the user asks for where there is no place for it.
func (d *draft) checkWishes() error {
	if err := checkTargets(d.in); err != nil {
		return err
	}
	how := d.resolved.Request
	inBody := d.in.Audience != "" || len(d.in.Resources) > 0 || (len(d.in.Scopes) > 0 && how.Scopes == ScopesInBody)
	if how.Method == http.MethodGet && inBody {
		return inputf("leave them out", "this endpoint takes neither scopes nor an audience nor resources")
	}
	if how.Scopes == NoScopes && len(d.in.Scopes) > 0 {
		return inputf("leave them out", "this endpoint takes no scopes")
	}
	if how.Scopes == ScopesInAssertion && len(d.in.Scopes) > 0 && !d.in.Credentials[CredAssertion].IsZero() {
		return inputf("leave them out, or sign the assertion with a private key", "the scopes would be in the assertion, which is ready-made")
	}
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
	d.add("grant_type", RefreshToken.onTheWire(""))
	d.add(CredRefreshToken, refresh)
	return d.authenticateClient()
}

func (d *draft) addGrant() error {
	switch d.resolved.Grant {
	case Password:
		return d.addLogin()
	case RefreshToken:
		return d.addRefreshToken()
	case JWTBearer:
		return d.addJWTBearer()
	case TokenExchange:
		return d.addTokenExchange()
	default:
		d.addGrantType()
		return nil
	}
}

func (d *draft) addGrantType() {
	d.add("grant_type", d.resolved.Grant.onTheWire(d.resolved.GrantType))
}

// addLogin is RFC 6749 §4.3, or RFC 7617.
func (d *draft) addLogin() error {
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
	d.addGrantType()
	return nil
}

// addRefreshToken is RFC 6749 §6, with a refresh token that is the primary credential.
func (d *draft) addRefreshToken() error {
	held := d.in.Credentials
	if !d.in.RefreshToken.IsZero() {
		held = Credentials{CredRefreshToken: d.in.RefreshToken}
	}
	refresh, err := d.resolved.credential(held, CredRefreshToken)
	if err != nil {
		return err
	}
	d.addGrantType()
	d.add(CredRefreshToken, refresh)
	return nil
}

// addJWTBearer is RFC 7523 §2.1, or what GitHub made of it.
func (d *draft) addJWTBearer() error {
	assertion, err := d.grantAssertion()
	if err != nil {
		return err
	}
	if d.resolved.Request.Assertion == AssertionInHeader {
		d.header.Set("Authorization", "Bearer "+assertion)
		return nil
	}
	d.addGrantType()
	d.add(CredAssertion, assertion)
	return nil
}

// addTokenExchange is RFC 8693 §2.1.
func (d *draft) addTokenExchange() error {
	subject, err := d.credential(CredSubjectToken)
	if err != nil {
		return err
	}
	types := d.resolved.TokenExchange
	d.addGrantType()
	d.add(CredSubjectToken, subject)
	d.add("subject_token_type", types.SubjectTokenType)
	if !d.in.Credentials[CredActorToken].IsZero() {
		actor, err := d.credential(CredActorToken)
		if err != nil {
			return err
		}
		d.add(CredActorToken, actor)
		d.add("actor_token_type", types.ActorTokenType)
	}
	if types.RequestedTokenType != "" {
		d.add("requested_token_type", types.RequestedTokenType)
	}
	return nil
}

// scopes are what the user asks for, else the definition.
func (d *draft) scopes() []string {
	if d.in.Scopes != nil {
		return d.in.Scopes
	}
	return d.resolved.Scopes
}

// addTargets adds audience, resources and the definition's further fields and members.
// What the user asks for replaces one of the same name.
func (d *draft) addTargets() error {
	asked := map[string]bool{"audience": d.in.Audience != "", "resource": len(d.in.Resources) > 0}
	if d.in.Audience != "" {
		d.add("audience", d.in.Audience)
	}
	for _, resource := range d.in.Resources {
		d.add("resource", resource)
	}
	for _, name := range slices.Sorted(maps.Keys(d.resolved.FormParameters)) {
		value, err := d.text(d.resolved.FormParameters[name])
		if err != nil {
			return err
		}
		if !asked[name] {
			d.add(name, value)
		}
	}
	return d.addMembers(asked)
}

func (d *draft) addMembers(asked map[string]bool) error {
	var first error
	filled, _ := mapTexts(d.resolved.Request.JSON, func(text string) string {
		value, err := d.text(text)
		first = cmp.Or(first, err)
		return value
	}).(map[string]any)
	maps.DeleteFunc(filled, func(name string, _ any) bool { return asked[name] })
	d.members = filled
	return first
}

// authenticateClient adds the proof that ClientAuthentication names.
func (d *draft) authenticateClient() error {
	id, err := d.clientID()
	if err != nil {
		return err
	}
	switch d.resolved.ClientAuthentication {
	case None:
		if d.resolved.Request.Login == LoginInBody && d.resolved.Request.Assertion == AssertionInBody && !d.assertionNamesClient() {
			d.addClientID(id)
		}
		return nil
	case PrivateKeyJWT:
		d.addClientID(id)
		return d.clientAssertion(id, d.signWithKey)
	case FederatedJWT:
		return d.federate(id)
	case TLS:
		d.addClientID(id)
		d.shown, err = d.certificate()
		return err
	default:
		return d.authenticateBySecret(id)
	}
}

// assertionNamesClient tells that the grant's own assertion says who the client is, so
// that client_id has nothing to add (RFC 7521 §4.1).
func (d *draft) assertionNamesClient() bool {
	issuer := cmp.Or(d.resolved.Assertion.Issuer, hole(CredClientID))
	return d.resolved.signsGrant(d.resolved.ReadyMade) && slices.Contains(holesIn(issuer), CredClientID)
}

func (d *draft) authenticateBySecret(id string) error {
	secret, err := d.credential(CredClientSecret)
	if err != nil {
		return err
	}
	switch d.resolved.ClientAuthentication {
	case SecretPost:
		d.addClientID(id)
		d.add(CredClientSecret, secret)
		return nil
	case SecretJWT:
		// client_id stays out: it is the assertion's subject.
		return d.clientAssertion(id, d.signWithSecret(secret))
	default:
		return d.setBasic(CredClientID, id, secret)
	}
}

// federate proves the client with what somebody else says about it (RFC 7521 §4.2).
func (d *draft) federate(id string) error {
	assertion, err := d.credential(CredClientAssertion)
	if err != nil {
		return err
	}
	d.addClientID(id)
	d.addClientAssertion(assertion)
	return nil
}

func (d *draft) addClientID(id string) {
	if id != "" {
		d.add(CredClientID, id)
	}
}

// clientID is the credential, else the definition's. A public client may have none, and
// one that somebody else speaks for.
func (d *draft) clientID() (string, error) {
	given := !d.in.Credentials[CredClientID].IsZero()
	auth := d.resolved.ClientAuthentication
	if !given && (d.resolved.ClientID != "" || auth == None || auth == FederatedJWT) {
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
