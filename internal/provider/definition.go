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
)

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
	// Parameters that a user may set.
	Parameters []Parameter `json:"parameters,omitempty"`
	// Grant; ClientCredentials when empty.
	Grant Grant `json:"grant,omitempty"`
	// ClientAuthentication; SecretBasic when empty.
	ClientAuthentication ClientAuthentication `json:"clientAuthentication,omitempty"`
	// ClientID is a public client's fixed identifier. A client_id among the credentials wins.
	ClientID string `json:"clientID,omitempty"`
	// CredentialKeys names, for a canonical credential (client_id, client_secret,
	// username, password), further keys under which a credential Secret may hold
	// it, in the provider's own words.
	CredentialKeys map[string][]string `json:"credentialKeys,omitempty"`
	// Scopes that are requested when the user names none.
	Scopes []string `json:"scopes,omitempty"`
	// FormParameters are further fields of the form body.
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
}

// Method is one of several ways to get a token from the same provider.
type Method struct {
	// Name, such as "AppToken".
	Name       string `json:"name"`
	Definition `json:",inline"`
}

// Parameter is a hole in TokenURL that a user may fill.
type Parameter struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	// Default is used when the user sets nothing; without one the parameter is required.
	Default string `json:"default,omitempty"`
	// Values lists what is allowed, each with what is put into the URL. When
	// empty, any single DNS label (RFC 1123, at most 63 characters) is.
	Values map[string]string `json:"values,omitempty"`
}

// RequestFormat holds what differs from an RFC 6749 token request.
type RequestFormat struct {
	// Method is POST when empty; GET sends no body.
	Method string `json:"method,omitempty"`
	// Headers are further literal request headers.
	Headers map[string]string `json:"headers,omitempty"`
	// BasicEncoding; FormEncoded when empty.
	BasicEncoding BasicEncoding `json:"basicEncoding,omitempty"`
	// Login; Body when empty.
	Login LoginPlacement `json:"login,omitempty"`
	// AssertionLifetime of a signed client assertion; 60 s when zero.
	AssertionLifetime Duration `json:"assertionLifetime,omitzero"`
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
