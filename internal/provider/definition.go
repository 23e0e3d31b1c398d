// Package provider knows how token endpoints speak: a Definition says how to
// obtain a token, NewRequest turns it and credentials into one HTTP request, and
// Decode turns the answer into a token or a typed error. All of it is pure; the
// catalog is embedded.
//
// It must not import anything of Kubernetes (sigs.k8s.io/yaml, a plain YAML
// library, is the exception), do no I/O and read no clock.
package provider

import "time"

// Grant is an OAuth 2.0 grant type (RFC 6749 §1.3), by its name in this API.
type Grant string

const (
	// ClientCredentials is RFC 6749 §4.4.
	ClientCredentials Grant = "ClientCredentials"
	// Password is the resource owner password credentials grant, RFC 6749 §4.3, and
	// every other login with username and password: a refusal may lock the account.
	Password Grant = "Password"
	// RefreshToken is RFC 6749 §6: the refresh token is itself the credential that
	// the user hands over. It is also the Grant of a Request that refreshes a token
	// of another grant.
	RefreshToken Grant = "RefreshToken"
	// JWTBearer is RFC 7523 §2.1: an assertion that is signed with the private key,
	// or the credential assertion as it is.
	JWTBearer Grant = "JWTBearer"
	// TokenExchange is RFC 8693.
	TokenExchange Grant = "TokenExchange"
	// Custom is a grant of the provider's own; GrantType names it on the wire.
	Custom Grant = "Custom"
)

// onTheWire is the value of grant_type; custom is that of the grant Custom.
func (g Grant) onTheWire(custom string) string {
	switch g {
	case Password:
		return "password"
	case RefreshToken:
		return "refresh_token"
	case JWTBearer:
		return "urn:ietf:params:oauth:grant-type:jwt-bearer"
	case TokenExchange:
		return "urn:ietf:params:oauth:grant-type:token-exchange"
	case Custom:
		return custom
	default:
		return "client_credentials"
	}
}

// ClientAuthentication is how the client proves itself to the token endpoint, in
// the terms of RFC 7591 §2 (token_endpoint_auth_method).
type ClientAuthentication string

const (
	// SecretBasic is client_secret_basic: id and secret in an HTTP Basic header (RFC 6749 §2.3.1).
	SecretBasic ClientAuthentication = "SecretBasic"
	// SecretPost is client_secret_post: id and secret in the form body.
	SecretPost ClientAuthentication = "SecretPost"
	// SecretJWT is client_secret_jwt: an assertion signed with the secret (RFC 7523 §2.2, HS256).
	SecretJWT ClientAuthentication = "SecretJWT"
	// PrivateKeyJWT is private_key_jwt: an assertion signed with the private key (RFC 7523 §2.2).
	PrivateKeyJWT ClientAuthentication = "PrivateKeyJWT"
	// FederatedJWT sends the credential client_assertion as it is: a JWT that somebody
	// else, whom the token endpoint trusts, issued for this client (RFC 7521 §4.2).
	FederatedJWT ClientAuthentication = "FederatedJWT"
	// TLS is tls_client_auth and self_signed_tls_client_auth (RFC 8705 §2): the
	// client's certificate in the handshake, client_id in the body.
	TLS ClientAuthentication = "TLS"
	// None is a public client: client_id in the body if there is one, no proof.
	None ClientAuthentication = "None"
)

// BasicEncoding is how user and password are put into a Basic header.
type BasicEncoding string

const (
	// FormEncoded encodes both with application/x-www-form-urlencoded first (RFC 6749 §2.3.1). The default.
	FormEncoded BasicEncoding = "FormEncoded"
	// Raw uses them as they are (RFC 7617); only catalog entries may say so.
	Raw BasicEncoding = "Raw"
)

// LoginPlacement is where a Password login carries username and password.
type LoginPlacement string

const (
	// LoginInBody puts them into the form body as username and password (RFC 6749 §4.3.2). The default.
	LoginInBody LoginPlacement = "Body"
	// LoginInBasicHeader puts them into an HTTP Basic header, and no grant_type anywhere.
	LoginInBasicHeader LoginPlacement = "BasicHeader"
)

// AssertionPlacement is where the assertion of the grant JWTBearer goes.
type AssertionPlacement string

const (
	// AssertionInBody puts it into the body, with its grant_type (RFC 7523 §2.1). The default.
	AssertionInBody AssertionPlacement = "Body"
	// AssertionInHeader makes it a Bearer token in the Authorization header, with no
	// grant_type and no assertion in the body.
	AssertionInHeader AssertionPlacement = "BearerHeader"
)

// ScopePlacement is where the requested scopes go.
type ScopePlacement string

const (
	// ScopesInBody sends the field scope (RFC 6749 §3.3). The default.
	ScopesInBody ScopePlacement = "Body"
	// ScopesInAssertion makes them the claim scope of the assertion of the grant JWTBearer.
	ScopesInAssertion ScopePlacement = "Assertion"
	// NoScopes is for endpoints that take none: asking for some is an error.
	NoScopes ScopePlacement = "None"
)

// BodyFormat is how the fields of a request are written.
type BodyFormat string

const (
	// FormBody is application/x-www-form-urlencoded (RFC 6749 §4). The default.
	FormBody BodyFormat = "Form"
	// JSONBody is one JSON object with the same fields as string members.
	JSONBody BodyFormat = "JSON"
)

// ParameterFormat is what a parameter without a list of values may be.
type ParameterFormat string

const (
	// LabelFormat is a single DNS label (RFC 1123) of at most 63 characters. The default.
	LabelFormat ParameterFormat = "Label"
	// SegmentFormat is one segment of a path: letters, digits, '.', '-' and '_', at
	// most 128 and not only dots. It cannot stand in the host.
	SegmentFormat ParameterFormat = "Segment"
	// HostFormat is a whole host name or IP address, with a port if need be
	// ("sso.example.com", "sso.example.com:8443"). It stands for the whole authority.
	HostFormat ParameterFormat = "Host"
)

// RefreshTokenUse says whether refresh tokens that come with an access token are used.
type RefreshTokenUse string

const (
	// Auto uses one when it came, and falls back to the primary credentials when it is refused. The default.
	Auto RefreshTokenUse = "Auto"
	// Never ignores them.
	Never RefreshTokenUse = "Never"
)

// Definition says how to obtain a token from one provider. The zero value of
// every optional field means its documented default.
type Definition struct {
	// Description is one line for people.
	Description string `json:"description,omitempty"`
	// Documentation is a link to the provider's own page.
	Documentation string `json:"documentation,omitempty"`
	// TokenURL is the token endpoint: an absolute https URL without user or
	// fragment. It may hold {name} for each declared parameter.
	TokenURL string `json:"tokenURL,omitempty"`
	// IssuerURL is the issuer's identifier (RFC 8414 §2): where TokenURL is empty, the
	// issuer's metadata tell it. An absolute https URL without query or fragment; it
	// may hold {name} for each declared parameter.
	IssuerURL string `json:"issuerURL,omitempty"`
	// Parameters that a user may set.
	Parameters []Parameter `json:"parameters,omitempty"`
	// Grant; ClientCredentials when empty.
	Grant Grant `json:"grant,omitempty"`
	// GrantType is the value of grant_type for the grant Custom, such as account_credentials.
	GrantType string `json:"grantType,omitempty"`
	// ClientAuthentication; SecretBasic when empty.
	ClientAuthentication ClientAuthentication `json:"clientAuthentication,omitempty"`
	// ClientID is a public client's fixed identifier. A client_id among the credentials wins.
	ClientID string `json:"clientID,omitempty"`
	// CredentialKeys names, for a credential, further keys under which a credential
	// Secret may hold it, in the provider's own words. A key may be followed by '#' and a
	// JSON pointer into the JSON document that it holds ("key.json#/private_key").
	CredentialKeys map[string][]string `json:"credentialKeys,omitempty"`
	// ExtraCredentials are what this provider wants to see beside the canonical
	// credentials; holes ({name}) say where they go. All of them are required. It may
	// also name client_id, where that is optional otherwise.
	ExtraCredentials []ExtraCredential `json:"extraCredentials,omitempty"`
	// Assertion says what a signed assertion is made of, for SecretJWT, PrivateKeyJWT and JWTBearer.
	Assertion AssertionFormat `json:"assertion,omitzero"`
	// TokenExchange holds the types of tokens of the grant TokenExchange.
	TokenExchange TokenExchangeFormat `json:"tokenExchange,omitzero"`
	// Scopes that are requested when the user names none.
	Scopes []string `json:"scopes,omitempty"`
	// FormParameters are further fields of the body. Values may hold {name} for each
	// parameter and each credential.
	FormParameters map[string]string `json:"formParameters,omitempty"`
	// Request holds what differs from an RFC 6749 token request.
	Request RequestFormat `json:"request,omitzero"`
	// Response says where the answer's fields are.
	Response ResponseFormat `json:"response,omitzero"`
	// TokenLifetime is used when the answer tells no expiry. A Go duration ("5m").
	TokenLifetime Duration `json:"tokenLifetime,omitzero"`
	// UseRefreshToken; Auto when empty.
	UseRefreshToken RefreshTokenUse `json:"useRefreshToken,omitempty"`
	// Limits protect the provider.
	Limits Limits `json:"limits,omitzero"`
	// CABundle is PEM: the only roots that are trusted when set.
	CABundle string `json:"caBundle,omitempty"`
	// Methods are alternative ways in: each is a Definition of its own, laid over
	// this one (fields that it sets win). The first whose credentials are all
	// there is used, unless the parameter "method" names one.
	Methods []Method `json:"methods,omitempty"`
	// Provisioning says how the credentials of one method are made, once, with those of another.
	Provisioning *ProvisioningStep `json:"provisioning,omitempty"`
}

// ExtraCredential is one that only this provider knows.
type ExtraCredential struct {
	// Name is also the key under which a credential Secret holds it: lower-case
	// letters, digits and underscores.
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
}

// AssertionFormat says what a signed assertion (RFC 7523 §3) is made of. Its texts may
// hold {name} for each parameter and each credential that is not a key or a secret.
type AssertionFormat struct {
	// Algorithm is a JWS algorithm (RFC 7518 §3.1, RFC 8037): HS256, RS256, PS256,
	// ES256, EdDSA and their longer kin. When empty, HS256 for a secret, and for a key
	// its "alg", else RS256, ES256, ES384, ES512 or EdDSA by its type.
	Algorithm string `json:"algorithm,omitempty"`
	// Issuer is the claim iss; {client_id} when empty.
	Issuer string `json:"issuer,omitempty"`
	// Subject is the claim sub; the issuer when empty. "-" leaves it out.
	Subject string `json:"subject,omitempty"`
	// Audience is the claim aud; the token URL when empty.
	Audience string `json:"audience,omitempty"`
	// KeyID is the header kid; the credential key_id, else the key's own, when empty.
	KeyID string `json:"keyID,omitempty"`
	// Lifetime from iat's instant without Backdate to exp; 60 s when zero.
	Lifetime Duration `json:"lifetime,omitzero"`
	// Backdate is how far iat lies in the past, so that a clock that is fast does no
	// harm; 10 s when zero.
	Backdate Duration `json:"backdate,omitzero"`
	// Thumbprint puts x5t#S256 (RFC 7515 §4.1.8) of the credential certificate into the header.
	Thumbprint bool `json:"thumbprint,omitempty"`
	// Claims are further claims.
	Claims map[string]string `json:"claims,omitempty"`
}

// TokenExchangeFormat holds the types of RFC 8693 §3: URIs.
type TokenExchangeFormat struct {
	// SubjectTokenType; urn:ietf:params:oauth:token-type:jwt when empty.
	SubjectTokenType string `json:"subjectTokenType,omitempty"`
	// ActorTokenType; urn:ietf:params:oauth:token-type:jwt when empty. It is sent with
	// the credential actor_token, where there is one.
	ActorTokenType string `json:"actorTokenType,omitempty"`
	// RequestedTokenType; not sent when empty.
	RequestedTokenType string `json:"requestedTokenType,omitempty"`
}

// ProvisioningStep makes credentials once: with a token of the method From it asks URL
// for what the method To needs. The request is not idempotent: its answer is shown
// once, and a lost one leaves credentials behind that nobody knows.
type ProvisioningStep struct {
	// From and To are names of Methods.
	From string `json:"from"`
	To   string `json:"to"`
	// URL gets the request, with the token as a Bearer token (RFC 6750 §2.1). It may
	// hold {name} for each declared parameter.
	URL string `json:"url"`
	// Method is POST when empty.
	Method string `json:"method,omitempty"`
	// Headers are further literal request headers.
	Headers map[string]string `json:"headers,omitempty"`
	// JSON is the body; none when empty.
	JSON map[string]any `json:"json,omitempty"`
	// Credentials holds JSON pointers into the answer for each credential, tried in order.
	Credentials map[string][]string `json:"credentials"`
}

// Method is one of several ways to get a token from the same provider.
type Method struct {
	// Name, such as "AppToken".
	Name       string `json:"name"`
	Definition `json:",inline"`
}

// Parameter is a hole that a user may fill, in TokenURL, IssuerURL, or a text of the request.
type Parameter struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Format of a parameter without Values; Label when empty.
	Format ParameterFormat `json:"format,omitempty"`
	// Default is used when the user sets nothing; without one the parameter is required.
	Default string `json:"default,omitempty"`
	// Values lists what is allowed, each with what is put into the hole. When
	// empty, Format tells.
	Values map[string]string `json:"values,omitempty"`
}

// RequestFormat holds what differs from an RFC 6749 token request.
type RequestFormat struct {
	// Method is POST when empty; GET sends no body.
	Method string `json:"method,omitempty"`
	// Headers are further request headers. Values may hold {name} for each parameter
	// and each credential.
	Headers map[string]string `json:"headers,omitempty"`
	// BasicEncoding; FormEncoded when empty.
	BasicEncoding BasicEncoding `json:"basicEncoding,omitempty"`
	// Login; Body when empty.
	Login LoginPlacement `json:"login,omitempty"`
	// Assertion; Body when empty.
	Assertion AssertionPlacement `json:"assertion,omitempty"`
	// Scopes; Body when empty.
	Scopes ScopePlacement `json:"scopes,omitempty"`
	// Body; Form when empty.
	Body BodyFormat `json:"body,omitempty"`
	// JSON holds further members of a JSON body, of any type. Texts in it may hold
	// {name} for each parameter and each credential.
	JSON map[string]any `json:"json,omitempty"`
}

// ResponseFormat holds JSON pointers (RFC 6901), tried in order; the first that
// finds a usable value wins. Error pointers are looked at before success.
// Defaults are the fields of RFC 6749 §5.
type ResponseFormat struct {
	AccessToken      []string `json:"accessToken,omitempty"`
	TokenType        []string `json:"tokenType,omitempty"`
	ExpiresIn        []string `json:"expiresIn,omitempty"`
	ExpiresAt        []string `json:"expiresAt,omitempty"`
	RefreshToken     []string `json:"refreshToken,omitempty"`
	RefreshExpiresIn []string `json:"refreshExpiresIn,omitempty"`
	Scope            []string `json:"scope,omitempty"`
	Error            []string `json:"error,omitempty"`
}

// Limits protect a provider from the operator. Zero means the operator's default.
type Limits struct {
	// Concurrency is the number of exchanges in flight per host; default 8.
	Concurrency int `json:"concurrency,omitempty"`
	// PerSecond is the number of exchanges begun per second and host; default 20.
	PerSecond int `json:"perSecond,omitempty"`
}

// Duration is a time.Duration that reads and writes as "5m" in YAML and JSON.
type Duration struct{ time.Duration }
