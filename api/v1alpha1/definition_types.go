package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Grant is an OAuth 2.0 grant type (RFC 6749 section 1.3).
// +kubebuilder:validation:Enum=ClientCredentials;Password;RefreshToken;JWTBearer;TokenExchange;Custom
type Grant string

// ClientAuthentication is how the client proves itself, in the terms of RFC 7591 section 2.
// +kubebuilder:validation:Enum=SecretBasic;SecretPost;SecretJWT;PrivateKeyJWT;FederatedJWT;TLS;None
type ClientAuthentication string

// RefreshTokenUse says whether refresh tokens are used.
// +kubebuilder:validation:Enum=Auto;Never
type RefreshTokenUse string

// RequestMethod is the HTTP method of a token request.
// +kubebuilder:validation:Enum=POST;GET
type RequestMethod string

// LoginPlacement is where a Password login carries user name and password.
// +kubebuilder:validation:Enum=Body;BasicHeader
type LoginPlacement string

// AssertionPlacement is where the assertion of the grant JWTBearer goes.
// +kubebuilder:validation:Enum=Body;BearerHeader
type AssertionPlacement string

// ScopePlacement is where the requested scopes go.
// +kubebuilder:validation:Enum=Body;Assertion;None
type ScopePlacement string

// BodyFormat is how the fields of a request are written.
// +kubebuilder:validation:Enum=Form;JSON
type BodyFormat string

// SigningAlgorithm is a JWS algorithm (RFC 7518 section 3.1, RFC 8037).
// +kubebuilder:validation:Enum=HS256;HS384;HS512;RS256;RS384;RS512;PS256;PS384;PS512;ES256;ES384;ES512;EdDSA
type SigningAlgorithm string

// ClaimValue is the value of a claim.
// +kubebuilder:validation:MaxLength=1024
type ClaimValue string

// JSONPointer is an RFC 6901 pointer into the answer, such as /data/accessToken.
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^(/([^~/]|~[01])*)+$`
type JSONPointer string

// Scope is one scope-token of RFC 6749 section 3.3.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^[\x21\x23-\x5B\x5D-\x7E]+$`
type Scope string

// ProviderDefinition says how to obtain a token from one provider.
// +kubebuilder:validation:XValidation:rule="has(self.base) || has(self.tokenURL) || has(self.issuerURL)",message="set tokenURL to the provider's token endpoint, or issuerURL to let its metadata tell it, or base to a catalog entry to start from"
// +kubebuilder:validation:XValidation:rule="!has(self.tokenURL) || !has(self.issuerURL)",message="set either tokenURL or issuerURL, not both: the issuer's metadata tell the token endpoint"
// +kubebuilder:validation:XValidation:rule="!has(self.parameters) || has(self.base)",message="parameters fill what a catalog entry leaves open: set base too, or remove parameters"
// +kubebuilder:validation:XValidation:rule="(has(self.grant) && self.grant == 'Custom') == has(self.grantType)",message="grant: Custom and grantType (the value of grant_type) go together"
// +kubebuilder:validation:XValidation:rule="!has(self.tokenExchange) || has(self.base) || (has(self.grant) && self.grant == 'TokenExchange')",message="tokenExchange needs grant: TokenExchange"
// +kubebuilder:validation:XValidation:rule="!has(self.method) || has(self.base)",message="method chooses among the ways in of a catalog entry: set base too, or remove method"
// +kubebuilder:validation:XValidation:rule="!has(self.caBundle) || !has(self.caBundleRef)",message="set either caBundle or caBundleRef, not both"
// +kubebuilder:validation:XValidation:rule="!has(self.request) || !has(self.request.login) || (has(self.grant) && self.grant == 'Password')",message="request.login says where user name and password go: it needs grant: Password"
type ProviderDefinition struct {
	// base is the name of a catalog entry to start from, such as "UP42"; the fields set
	// here win over its own.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Base string `json:"base,omitempty"`

	// method names one of the base's ways in, where it has several (SpatiaFi: AppToken, LoginToken).
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Method string `json:"method,omitempty"`

	// tokenURL is the provider's token endpoint (RFC 6749 section 3.2): an absolute https URL.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != ''",message="tokenURL must be an absolute https URL, such as https://sso.example.com/oauth2/token"
	// +kubebuilder:validation:XValidation:rule="!self.contains('#') && !self.contains('@') && !self.contains('{')",message="tokenURL must have no user, no fragment and no {parameters}: write the final URL"
	TokenURL string `json:"tokenURL,omitempty"`

	// parameters fill what the base leaves open, such as realm; a ProviderToken can then
	// not change them.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 63 && k.matches('^[A-Za-z][A-Za-z0-9]*$'))",message="names of parameters are up to 63 letters and digits"
	Parameters map[string]ParameterValue `json:"parameters,omitempty"`

	// issuerURL is the issuer's identifier (RFC 8414, OpenID Connect Discovery): its
	// metadata tell the token endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != ''",message="issuerURL must be an absolute https URL, such as https://sso.example.com/realms/corp"
	// +kubebuilder:validation:XValidation:rule="!self.contains('#') && !self.contains('@') && !self.contains('{') && !self.contains('?')",message="issuerURL must have no user, no query, no fragment and no {parameters}: write the issuer as its metadata does"
	IssuerURL string `json:"issuerURL,omitempty"`

	// grant is the OAuth 2.0 grant to use: ClientCredentials (when left out), Password,
	// RefreshToken, JWTBearer, TokenExchange, or Custom with grantType.
	// +optional
	Grant Grant `json:"grant,omitempty"`

	// grantType is the value of grant_type for grant: Custom, such as account_credentials.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[\x21-\x7E]+$`
	GrantType string `json:"grantType,omitempty"`

	// clientAuthentication is how the client proves itself: SecretBasic (when left out),
	// SecretPost, SecretJWT, PrivateKeyJWT, FederatedJWT, TLS or None.
	// +optional
	ClientAuthentication ClientAuthentication `json:"clientAuthentication,omitempty"`

	// clientID is the fixed identifier of a public client. A client_id among the credentials wins.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[\x20-\x7E]+$`
	ClientID string `json:"clientID,omitempty"`

	// extraCredentials are what the provider wants to see beside the usual credentials, as
	// keys of the credential Secret; {name} in formParameters, request and assertion says
	// where they go. client_id among them makes that one required.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	ExtraCredentials []CredentialName `json:"extraCredentials,omitempty"`

	// assertion says what a signed assertion is made of (SecretJWT, PrivateKeyJWT, JWTBearer).
	// +optional
	Assertion *AssertionFormat `json:"assertion,omitempty"`

	// tokenExchange holds the types of tokens of grant: TokenExchange.
	// +optional
	TokenExchange *TokenExchangeFormat `json:"tokenExchange,omitempty"`

	// scopes are requested when a ProviderToken names none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`

	// formParameters are further fields of the request's body. Values may hold {name} for
	// a parameter or a credential.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 64 && k.matches('^[A-Za-z0-9_.:-]+$'))",message="names of formParameters are up to 64 letters, digits, '_', '-', '.' and ':'"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['grant_type','client_id','client_secret','client_assertion','client_assertion_type','username','password','refresh_token','scope','assertion','audience','resource','code','subject_token','actor_token']))",message="formParameters must not set a field that the operator sets itself: use grant, clientAuthentication, scopes, audience or the credential Secret"
	FormParameters map[string]FormValue `json:"formParameters,omitempty"`

	// request holds what differs from a token request of RFC 6749.
	// +optional
	Request *RequestFormat `json:"request,omitempty"`

	// response says where the fields of the answer are, where that differs from RFC 6749.
	// +optional
	Response *ResponseFormat `json:"response,omitempty"`

	// tokenLifetime is assumed when the answer tells no expiry, such as 5m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('2s') && duration(self) <= duration('87600h')",message="tokenLifetime must be between 2s and 87600h (ten years)"
	TokenLifetime *metav1.Duration `json:"tokenLifetime,omitempty"`

	// useRefreshToken says whether a refresh token that comes with the access token is
	// used for the next one: Auto (when left out) falls back to the credentials when the
	// provider refuses it; Never ignores it.
	// +optional
	UseRefreshToken RefreshTokenUse `json:"useRefreshToken,omitempty"`

	// limits protect the provider.
	// +optional
	Limits *Limits `json:"limits,omitempty"`

	// caBundle is PEM: when set, only these authorities are trusted for the token endpoint.
	// +optional
	// +kubebuilder:validation:MaxLength=262144
	// +kubebuilder:validation:XValidation:rule="self.contains('-----BEGIN CERTIFICATE-----')",message="caBundle must hold PEM certificates (-----BEGIN CERTIFICATE-----)"
	CABundle string `json:"caBundle,omitempty"`

	// caBundleRef names a key of a ConfigMap that holds the bundle. The ConfigMap carries
	// the label providertoken.dev/ca-bundle, with any value.
	// +optional
	CABundleRef *ConfigMapKeyReference `json:"caBundleRef,omitempty"`
}

// FormValue is the value of a form field.
// +kubebuilder:validation:MaxLength=1024
type FormValue string

// HeaderValue is the value of a request header.
// +kubebuilder:validation:MaxLength=1024
// +kubebuilder:validation:Pattern=`^[\x20-\x7E]*$`
type HeaderValue string

// AssertionFormat says what a signed assertion (RFC 7523 section 3) is made of. Texts
// may hold {name} for a parameter or a credential that is no secret.
type AssertionFormat struct {
	// algorithm; HS256 for a secret, and by the key's type otherwise, when left out.
	// +optional
	Algorithm SigningAlgorithm `json:"algorithm,omitempty"`
	// issuer is the claim iss; {client_id} when left out.
	// +optional
	Issuer ClaimValue `json:"issuer,omitempty"`
	// subject is the claim sub; the issuer when left out, and none when "-".
	// +optional
	Subject ClaimValue `json:"subject,omitempty"`
	// audience is the claim aud, and what a ServiceAccount token is asked for; the token URL when left out.
	// +optional
	Audience ClaimValue `json:"audience,omitempty"`
	// keyID is the header kid; the credential key_id, else the key's own, when left out.
	// +optional
	KeyID ClaimValue `json:"keyID,omitempty"`
	// lifetime of the assertion; 60s when left out.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10s') && duration(self) <= duration('1h')",message="lifetime must be between 10s and 1h"
	Lifetime *metav1.Duration `json:"lifetime,omitempty"`
	// backdate is how far iat lies in the past, for clocks that are slow; 10s when left out.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="backdate must be between 1s and 10m"
	Backdate *metav1.Duration `json:"backdate,omitempty"`
	// thumbprint puts x5t#S256 of the credential certificate into the header.
	// +optional
	Thumbprint bool `json:"thumbprint,omitempty"`
	// claims are further claims.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 64 && !(k in ['iss','sub','aud','exp','iat','nbf','jti']))",message="claims must not set iss, sub, aud, exp, iat, nbf or jti: use issuer, subject, audience and lifetime"
	Claims map[string]ClaimValue `json:"claims,omitempty"`
}

// TokenType is a token type identifier of RFC 8693 section 3.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^[\x21-\x7E]+$`
type TokenType string

// TokenExchangeFormat holds the types of tokens of RFC 8693.
type TokenExchangeFormat struct {
	// subjectTokenType; urn:ietf:params:oauth:token-type:jwt when left out.
	// +optional
	SubjectTokenType TokenType `json:"subjectTokenType,omitempty"`
	// actorTokenType; urn:ietf:params:oauth:token-type:jwt when left out.
	// +optional
	ActorTokenType TokenType `json:"actorTokenType,omitempty"`
	// requestedTokenType; not sent when left out.
	// +optional
	RequestedTokenType TokenType `json:"requestedTokenType,omitempty"`
}

// RequestFormat holds what differs from a token request of RFC 6749.
type RequestFormat struct {
	// method is POST when left out. GET sends no body.
	// +optional
	Method RequestMethod `json:"method,omitempty"`

	// headers are further request headers. Values may hold {name} for a parameter or a credential.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 64 && k.matches('^[A-Za-z0-9-]+$'))",message="names of headers are up to 64 letters, digits and '-'"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k.lowerAscii() in ['authorization','proxy-authorization','host','content-type','content-length','content-encoding','transfer-encoding','connection','cookie','user-agent','accept-encoding','te','trailer','upgrade','expect']))",message="headers must not set a header that the operator sets itself, such as Authorization, Host or Content-Type"
	Headers map[string]HeaderValue `json:"headers,omitempty"`

	// login is where a Password login carries user name and password: Body (when left
	// out) or BasicHeader, which sends no grant_type.
	// +optional
	Login LoginPlacement `json:"login,omitempty"`

	// assertion is where the assertion of grant: JWTBearer goes: Body (when left out) or
	// BearerHeader, which sends no grant_type.
	// +optional
	Assertion AssertionPlacement `json:"assertion,omitempty"`

	// scopes is where scopes go: Body (when left out), Assertion (its claim scope), or
	// None for an endpoint that takes none.
	// +optional
	Scopes ScopePlacement `json:"scopes,omitempty"`

	// body is Form when left out; JSON sends one object with the same fields.
	// +optional
	Body BodyFormat `json:"body,omitempty"`

	// json holds further members of a JSON body, of any type. Texts in it may hold {name}
	// for a parameter or a credential.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	JSON *runtime.RawExtension `json:"json,omitempty"`
}

// ResponseFormat holds JSON pointers into the answer, tried in order. Those of
// error are looked at before success.
type ResponseFormat struct {
	// accessToken; /access_token when left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	AccessToken []JSONPointer `json:"accessToken,omitempty"`
	// tokenType; /token_type when left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	TokenType []JSONPointer `json:"tokenType,omitempty"`
	// expiresIn, in seconds; /expires_in when left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	ExpiresIn []JSONPointer `json:"expiresIn,omitempty"`
	// expiresAt, as seconds or milliseconds since the epoch or in RFC 3339; /expires_at when left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	ExpiresAt []JSONPointer `json:"expiresAt,omitempty"`
	// refreshToken; /refresh_token when left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	RefreshToken []JSONPointer `json:"refreshToken,omitempty"`
	// refreshExpiresIn, in seconds; /refresh_expires_in when left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	RefreshExpiresIn []JSONPointer `json:"refreshExpiresIn,omitempty"`
	// scope; /scope when left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Scope []JSONPointer `json:"scope,omitempty"`
	// error; /error when left out.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Error []JSONPointer `json:"error,omitempty"`
}

// Limits protect a provider from the operator.
type Limits struct {
	// concurrency is the number of exchanges in flight per host; 8 when left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	Concurrency int32 `json:"concurrency,omitempty"`
	// perSecond is the number of exchanges begun per second and host; 20 when left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	PerSecond int32 `json:"perSecond,omitempty"`
}

// ConfigMapKeyReference names one key of a ConfigMap.
type ConfigMapKeyReference struct {
	// name of the ConfigMap.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// namespace of the ConfigMap: required in a ClusterTokenProvider, and not allowed elsewhere.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// key in the ConfigMap; ca.crt when left out.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key,omitempty"`
}

// TokenProvider defines a provider for the ProviderTokens of its namespace. Since it
// may send credentials anywhere, the credential Secret itself must name the host in
// its annotation providertoken.dev/allowed-hosts.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=tokprov,categories=provider-token
// +kubebuilder:printcolumn:name="Base",type=string,JSONPath=`.spec.base`
// +kubebuilder:printcolumn:name="Token URL",type=string,JSONPath=`.spec.tokenURL`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 49",message="the name must have at most 49 characters, so that a credential Secret's label can hold it"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.caBundleRef) || !has(self.spec.caBundleRef.namespace)",message="a TokenProvider reads ConfigMaps of its own namespace only: remove caBundleRef.namespace"
type TokenProvider struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec says how to obtain a token.
	Spec ProviderDefinition `json:"spec"`
}

// TokenProviderList is a list of TokenProvider.
// +kubebuilder:object:root=true
type TokenProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TokenProvider `json:"items"`
}

// ClusterTokenProvider defines a provider for the whole cluster. Who may write one
// decides where credentials are sent.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=ctokprov,categories=provider-token
// +kubebuilder:printcolumn:name="Base",type=string,JSONPath=`.spec.base`
// +kubebuilder:printcolumn:name="Token URL",type=string,JSONPath=`.spec.tokenURL`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 42",message="the name must have at most 42 characters, so that a credential Secret's label can hold it"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.caBundleRef) || has(self.spec.caBundleRef.namespace)",message="a ClusterTokenProvider has no namespace of its own: set caBundleRef.namespace"
type ClusterTokenProvider struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec says how to obtain a token, and who may have one.
	Spec ClusterTokenProviderSpec `json:"spec"`
}

// ClusterTokenProviderSpec is a definition, and with credentials of its own, who may
// have tokens for them.
// +kubebuilder:validation:XValidation:rule="has(self.credentials) == has(self.allow)",message="credentials and allow go together: with credentials of its own, a ClusterTokenProvider says whose ProviderTokens may use them (allow.namespaces), and without it there is nothing to allow"
type ClusterTokenProviderSpec struct {
	ProviderDefinition `json:",inline"`

	// credentials that the platform holds: ProviderTokens that use this provider get
	// tokens and never see them. The Secrets carry the label
	// providertoken.dev/credentials-for: ClusterTokenProvider.<name>.
	// +optional
	Credentials *PlatformCredentials `json:"credentials,omitempty"`

	// allow says which ProviderTokens may use the credentials, and what they may ask for.
	// +optional
	Allow *Allow `json:"allow,omitempty"`
}

// PlatformCredentials says which Secrets hold the platform's credentials.
// +kubebuilder:validation:XValidation:rule="has(self.secretName) || (has(self.keys) && self.keys.size() > 0 && self.keys.all(k, has(k.secretName)))",message="set secretName to the credential Secret, or secretName in every entry of keys"
type PlatformCredentials struct {
	// namespace of the Secrets.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// secretName is the Secret whose keys are the credentials.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
	// keys tells where single credentials are, if not under their own name in secretName.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Keys []CredentialKey `json:"keys,omitempty"`
}

// Allow says what ProviderTokens may do with the platform's credentials. What is not
// listed is not allowed.
type Allow struct {
	// namespaces whose ProviderTokens may use the credentials.
	Namespaces AllowedNamespaces `json:"namespaces"`
	// scopes that a ProviderToken may ask for; without any it gets those of the
	// definition, and may name none of its own.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`
	// audiences that a ProviderToken may ask for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Audiences []string `json:"audiences,omitempty"`
	// resources (RFC 8707) that a ProviderToken may ask for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Resources []string `json:"resources,omitempty"`
}

// AllowedNamespaces names namespaces, by name or by label. Either is enough; with
// neither there are none.
type AllowedNamespaces struct {
	// names of namespaces.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Names []string `json:"names,omitempty"`
	// selector of namespaces by their labels. An empty one ({}) selects all.
	// +optional
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// ClusterTokenProviderList is a list of ClusterTokenProvider.
// +kubebuilder:object:root=true
type ClusterTokenProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterTokenProvider `json:"items"`
}
