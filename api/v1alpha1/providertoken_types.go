package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ProviderKind is the kind of thing that a definition comes from.
// +kubebuilder:validation:Enum=Builtin;TokenProvider;ClusterTokenProvider
type ProviderKind string

const (
	// BuiltinProvider is an entry of the catalog that comes with the operator.
	BuiltinProvider ProviderKind = "Builtin"
	// NamespacedProvider is a TokenProvider in the ProviderToken's namespace.
	NamespacedProvider ProviderKind = "TokenProvider"
	// ClusterProvider is a ClusterTokenProvider.
	ClusterProvider ProviderKind = "ClusterTokenProvider"
	// InlineProvider is the definition in the ProviderToken itself; it shows in status only.
	InlineProvider ProviderKind = "Inline"
)

// ProviderTokenSpec says which token, with whose credentials, and where to put it.
// +kubebuilder:validation:XValidation:rule="has(self.providerRef) != has(self.provider)",message="set exactly one of providerRef (a known provider) and provider (a definition of your own)"
// +kubebuilder:validation:XValidation:rule="has(self.credentials) || has(self.providerRef) && has(self.providerRef.kind) && self.providerRef.kind == 'ClusterTokenProvider'",message="set credentials.secretName to the credential Secret; only a ClusterTokenProvider with credentials of its own needs none"
// +kubebuilder:validation:XValidation:rule="!has(self.provider) || !has(self.provider.caBundleRef) || !has(self.provider.caBundleRef.namespace)",message="a ProviderToken reads ConfigMaps of its own namespace only: remove provider.caBundleRef.namespace"
type ProviderTokenSpec struct {
	// providerRef names the provider that issues the token.
	// +optional
	ProviderRef *ProviderReference `json:"providerRef,omitempty"`

	// provider defines the provider in place, instead of providerRef. The credential
	// Secret must name the provider's host in its annotation providertoken.dev/allowed-hosts.
	// +optional
	Provider *ProviderDefinition `json:"provider,omitempty"`

	// credentials says which Secrets of this namespace hold what the provider wants to
	// see. It is left out where a ClusterTokenProvider has credentials of its own.
	// +optional
	Credentials *Credentials `json:"credentials,omitempty"`

	// scopes to ask for, instead of the provider's own.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Scopes []Scope `json:"scopes,omitempty"`

	// audience to ask for, where the provider knows that field.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[\x20-\x7E]+$`
	Audience string `json:"audience,omitempty"`

	// resources that the token is for (RFC 8707).
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	// +kubebuilder:validation:items:Pattern=`^[\x21-\x7E]+$`
	Resources []string `json:"resources,omitempty"`

	// refresh tunes when the token is replaced.
	// +optional
	Refresh *RefreshPolicy `json:"refresh,omitempty"`

	// suspend stops requests to the provider. The target is still repaired while its token is known.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// target says where the token goes.
	// +optional
	Target *Target `json:"target,omitempty"`
}

// ProviderReference names a provider.
type ProviderReference struct {
	// kind of provider: Builtin (when left out) for the operator's own catalog, or
	// TokenProvider or ClusterTokenProvider.
	// +optional
	Kind ProviderKind `json:"kind,omitempty"`
	// name of the provider, such as UP42.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// parameters that the definition declares, such as region.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 63 && k.matches('^[A-Za-z][A-Za-z0-9]*$'))",message="names of parameters are up to 63 letters and digits"
	Parameters map[string]ParameterValue `json:"parameters,omitempty"`
}

// ParameterValue is the value of a provider's parameter: a word, a DNS label, a segment of
// a path or a host name with its port, as the provider declares.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=260
// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9._:-]*[A-Za-z0-9_-])?$`
type ParameterValue string

// Credentials says which Secrets hold the credentials.
// +kubebuilder:validation:XValidation:rule="has(self.secretName) || has(self.serviceAccount) || (has(self.keys) && self.keys.size() > 0 && self.keys.all(k, has(k.secretName)))",message="set secretName to the credential Secret, or secretName in every entry of keys, or serviceAccount"
// +kubebuilder:validation:XValidation:rule="!has(self.provision) || has(self.secretName)",message="provision needs secretName: the Secret with what the new credentials are made with"
// +kubebuilder:validation:XValidation:rule="!has(self.provision) || self.provision.secretName != self.secretName",message="provision.secretName must be a Secret of its own, not the one with the login"
type Credentials struct {
	// secretName is the Secret whose keys are the credentials: client_id and
	// client_secret, or username and password, as the provider wants. It carries the
	// label providertoken.dev/credentials-for with the provider's name.
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
	// serviceAccount of this namespace whose token is the credential: the subject token
	// of grant: TokenExchange, the assertion of grant: JWTBearer, or the client assertion
	// of clientAuthentication: FederatedJWT, whichever no Secret holds. It opts in by the
	// annotations providertoken.dev/allowed-audiences and providertoken.dev/allowed-hosts.
	// +optional
	ServiceAccount *ServiceAccountCredentials `json:"serviceAccount,omitempty"`
	// provision makes credentials of their own with those of secretName, once, where the
	// provider offers that (SpatiaFi), and keeps them in a Secret. From then on only
	// that Secret is used; the other one may be deleted.
	// +optional
	Provision *Provision `json:"provision,omitempty"`
}

// ServiceAccountCredentials names a ServiceAccount.
type ServiceAccountCredentials struct {
	// name of the ServiceAccount.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// audience of its token; what the provider's definition says when left out.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[\x21-\x7E]+$`
	Audience string `json:"audience,omitempty"`
}

// Provision says where credentials are kept that the provider makes only once.
type Provision struct {
	// secretName of the Secret that the operator makes for them. It outlives the ProviderToken.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	SecretName string `json:"secretName"`
}

// CredentialName is what a credential is called by RFC 6749 and its kin (client_id,
// client_secret, username, password, refresh_token, private_key, key_id, certificate,
// assertion, client_assertion, subject_token, actor_token), or by the provider.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[a-z][a-z0-9_]*$`
type CredentialName string

// CredentialKey tells where one credential is.
type CredentialKey struct {
	// name of the credential, such as client_id or password.
	Name CredentialName `json:"name"`
	// secretName of the Secret that holds it; that of credentials when left out.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
	// key in the Secret; followed by '#' and a JSON pointer where the key holds a JSON
	// document, as in key.json#/private_key.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+(#(/[^~/]*)+)?$`
	Key string `json:"key"`
}

// RefreshPolicy tunes when a token is replaced: at atPercent of its life, or
// minimumLead before its end, whichever is earlier, and up to a tenth of the life
// before that, so that many tokens do not come due together.
type RefreshPolicy struct {
	// atPercent of the token's life; two thirds when left out.
	// +optional
	// +kubebuilder:validation:Minimum=40
	// +kubebuilder:validation:Maximum=95
	AtPercent int32 `json:"atPercent,omitempty"`
	// minimumLead before the expiry; 2m when left out, because a mounted file follows
	// its Secret with up to 90 s delay.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('24h')",message="minimumLead must be between 0s and 24h"
	MinimumLead *metav1.Duration `json:"minimumLead,omitempty"`
	// minimumInterval between two refreshes; 30s when left out.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="minimumInterval must be between 1s and 24h"
	MinimumInterval *metav1.Duration `json:"minimumInterval,omitempty"`
}

// Format is a ready-made form of the target Secret.
// +kubebuilder:validation:Enum=Default;BasicAuth;DockerConfigJSON;Netrc;Header
type Format string

const (
	// DefaultFormat has the keys token, authorization, token-type and expires-at.
	DefaultFormat Format = "Default"
	// BasicAuthFormat is a kubernetes.io/basic-auth Secret.
	BasicAuthFormat Format = "BasicAuth"
	// DockerConfigJSONFormat is a kubernetes.io/dockerconfigjson Secret.
	DockerConfigJSONFormat Format = "DockerConfigJSON"
	// NetrcFormat adds a .netrc file.
	NetrcFormat Format = "Netrc"
	// HeaderFormat adds a file with one HTTP header line.
	HeaderFormat Format = "Header"
)

// DeletionPolicy says what becomes of the target when its ProviderToken goes.
// +kubebuilder:validation:Enum=Delete;Retain
type DeletionPolicy string

const (
	// DeleteTarget lets Kubernetes' garbage collector take the target.
	DeleteTarget DeletionPolicy = "Delete"
	// RetainTarget leaves it.
	RetainTarget DeletionPolicy = "Retain"
)

// Target says where the token goes, and in which form.
// +kubebuilder:validation:XValidation:rule="!has(self.basicAuth) || (has(self.format) && self.format == 'BasicAuth')",message="basicAuth needs format: BasicAuth"
// +kubebuilder:validation:XValidation:rule="(has(self.format) && self.format == 'DockerConfigJSON') == has(self.dockerConfigJSON)",message="format: DockerConfigJSON and dockerConfigJSON (with the registry) go together"
// +kubebuilder:validation:XValidation:rule="(has(self.format) && self.format == 'Netrc') == has(self.netrc)",message="format: Netrc and netrc (with the machine) go together"
// +kubebuilder:validation:XValidation:rule="!has(self.header) || (has(self.format) && self.format == 'Header')",message="header needs format: Header"
// +kubebuilder:validation:XValidation:rule="!has(self.template) || !has(self.template.type) || !has(self.format) || !(self.format in ['BasicAuth','DockerConfigJSON'])",message="format: BasicAuth and DockerConfigJSON set the Secret's type themselves: remove template.type"
// +kubebuilder:validation:XValidation:rule="!has(self.keepPrevious) || !self.keepPrevious || !has(self.template) || !has(self.template.keys) || self.template.keys != 'Replace'",message="keepPrevious needs the keys that the operator makes: use template.keys: Merge, or remove keepPrevious"
type Target struct {
	// secretName of the Secret that holds the token; the ProviderToken's own name when
	// left out. It cannot be changed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	SecretName string `json:"secretName,omitempty"`

	// format of the Secret: Default (when left out) has the keys token, authorization
	// ("Bearer …"), token-type and expires-at; the others add to them what their consumers read.
	// +optional
	Format Format `json:"format,omitempty"`

	// basicAuth are the parameters of format BasicAuth.
	// +optional
	BasicAuth *BasicAuthTarget `json:"basicAuth,omitempty"`
	// dockerConfigJSON are the parameters of format DockerConfigJSON.
	// +optional
	DockerConfigJSON *DockerConfigJSONTarget `json:"dockerConfigJSON,omitempty"`
	// netrc are the parameters of format Netrc.
	// +optional
	Netrc *NetrcTarget `json:"netrc,omitempty"`
	// header are the parameters of format Header.
	// +optional
	Header *HeaderTarget `json:"header,omitempty"`

	// template shapes the Secret further.
	// +optional
	Template *SecretTemplate `json:"template,omitempty"`

	// keepPrevious keeps the token that was replaced under the keys previous-token and
	// previous-expires-at, until it expires or the next one is replaced. It begins with the next
	// refresh, and a token for another spec is not kept.
	// +optional
	KeepPrevious bool `json:"keepPrevious,omitempty"`

	// deletionPolicy: Delete (when left out) removes the Secret with its ProviderToken; Retain leaves it.
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// LoginName is a user name in a file.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=256
// +kubebuilder:validation:Pattern=`^[\x21-\x39\x3B-\x7E]+$`
type LoginName string

// BasicAuthTarget has the keys username and password, the latter with the token.
type BasicAuthTarget struct {
	// username that goes with the token; oauth2 when left out.
	// +optional
	Username LoginName `json:"username,omitempty"`
}

// DockerConfigJSONTarget has the key .dockerconfigjson, for imagePullSecrets.
type DockerConfigJSONTarget struct {
	// registry host, such as ghcr.io.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._/-]*)?$`
	Registry string `json:"registry"`
	// username that goes with the token; oauth2accesstoken when left out.
	// +optional
	Username LoginName `json:"username,omitempty"`
}

// NetrcTarget has the key .netrc.
type NetrcTarget struct {
	// machine is the host that the token is for.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9.-]+$`
	Machine string `json:"machine"`
	// login that goes with the token; oauth2 when left out.
	// +optional
	Login LoginName `json:"login,omitempty"`
}

// HeaderTarget has the key header: a line such as "Authorization: Bearer …", as
// curl --header @file reads it.
type HeaderTarget struct {
	// name of the header; Authorization when left out.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]+$`
	Name string `json:"name,omitempty"`
	// scheme before the token; the token's type when left out, and nothing when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]*$`
	Scheme *string `json:"scheme,omitempty"`
}

// KeysPolicy says what becomes of the keys that the format makes.
// +kubebuilder:validation:Enum=Merge;Replace
type KeysPolicy string

const (
	// MergeKeys adds the template's keys to those of the format.
	MergeKeys KeysPolicy = "Merge"
	// ReplaceKeys leaves only the template's keys.
	ReplaceKeys KeysPolicy = "Replace"
)

// SecretTemplate shapes the target Secret.
// +kubebuilder:validation:XValidation:rule="!has(self.keys) || self.keys != 'Replace' || (has(self.data) && self.data.size() > 0)",message="keys: Replace needs at least one entry in data"
type SecretTemplate struct {
	// type of the Secret: Opaque (when left out), kubernetes.io/basic-auth,
	// kubernetes.io/dockerconfigjson, kubernetes.io/dockercfg, or one outside kubernetes.io.
	// It cannot be changed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self in ['Opaque','kubernetes.io/basic-auth','kubernetes.io/dockerconfigjson','kubernetes.io/dockercfg'] || !self.split('/')[0].endsWith('kubernetes.io') && !self.split('/')[0].endsWith('k8s.io') && !self.split('/')[0].endsWith('helm.sh')",message="type must be Opaque, kubernetes.io/basic-auth, kubernetes.io/dockerconfigjson, kubernetes.io/dockercfg, or a type outside kubernetes.io and helm.sh"
	Type string `json:"type,omitempty"`
	// metadata of the Secret, literally.
	// +optional
	Metadata *TemplateMetadata `json:"metadata,omitempty"`
	// data holds a Go template for each key. They know .token, .authorization, .tokenType,
	// .expiresAt (RFC 3339), .expiresAtUnix, .issuedAt and .scopes.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 253 && k.matches('^[-._a-zA-Z0-9]+$'))",message="keys of data are up to 253 letters, digits, '-', '_' and '.'"
	// +kubebuilder:validation:XValidation:rule="!('token' in self) && !('expires-at' in self) && !('previous-token' in self) && !('previous-expires-at' in self)",message="token, expires-at, previous-token and previous-expires-at are reserved for the operator: use other keys in data"
	Data map[string]TemplateText `json:"data,omitempty"`
	// keys: Merge (when left out) adds data to the keys of the format; Replace leaves only data.
	// +optional
	Keys KeysPolicy `json:"keys,omitempty"`
}

// TemplateText is a Go template.
// +kubebuilder:validation:MaxLength=16384
type TemplateText string

// MetadataValue is the value of a label or annotation.
// +kubebuilder:validation:MaxLength=4096
type MetadataValue string

// LabelValue is the value of a label.
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`
type LabelValue string

// TemplateMetadata is metadata for the target Secret.
type TemplateMetadata struct {
	// labels of the Secret.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="keys of labels must be label keys, such as app or example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.contains('/') || k == 'argocd.argoproj.io/secret-type' || !k.matches('(kubernetes[.]io|k8s[.]io|argoproj[.]io|providertoken[.]dev|emberstack[.]com|mittwald[.]de|appscode[.]com|havulv[.]io|replizieren[.]dev|external-secrets[.]io|helm[.]sh)/'))",message="labels of kubernetes.io, k8s.io, argoproj.io, helm.sh, providertoken.dev and of programs that copy Secrets between namespaces are not for templates"
	// +kubebuilder:validation:XValidation:rule="!('argocd.argoproj.io/secret-type' in self) || self['argocd.argoproj.io/secret-type'] in ['repository','repo-creds']",message="argocd.argoproj.io/secret-type may be repository or repo-creds: a token is not a cluster"
	Labels map[string]LabelValue `json:"labels,omitempty"`
	// annotations of the Secret.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.size() <= 317 && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="keys of annotations must be annotation keys, such as example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.contains('/') || !k.matches('(kubernetes[.]io|k8s[.]io|argoproj[.]io|providertoken[.]dev|emberstack[.]com|mittwald[.]de|appscode[.]com|havulv[.]io|replizieren[.]dev|external-secrets[.]io|helm[.]sh)/'))",message="annotations of kubernetes.io, k8s.io, argoproj.io, helm.sh, providertoken.dev and of programs that copy Secrets between namespaces are not for templates"
	Annotations map[string]MetadataValue `json:"annotations,omitempty"`
}

// ProviderTokenStatus tells what the operator did and what it will do.
type ProviderTokenStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions: Ready, CredentialsResolved, TokenIssued, SecretPublished; Reconciling
	// and Stalled while they are true.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// token that the target holds.
	// +optional
	Token *TokenStatus `json:"token,omitempty"`
	// refreshAt is when the token will be replaced, or up to a second before.
	// +optional
	RefreshAt *metav1.Time `json:"refreshAt,omitempty"`
	// provider is where the definition came from.
	// +optional
	Provider *ProviderStatus `json:"provider,omitempty"`
	// refresh is the policy in effect.
	// +optional
	Refresh *RefreshPolicy `json:"refresh,omitempty"`
	// secretName is the target Secret.
	// +optional
	SecretName string `json:"secretName,omitempty"`
	// propagation tells when pods were last told of a changed target, where the
	// operator does that.
	// +optional
	Propagation *PropagationStatus `json:"propagation,omitempty"`
	// credentialExpiresAt is when the credential ends, as the annotation
	// providertoken.dev/credential-expires-at of its Secret says; the first of several.
	// +optional
	CredentialExpiresAt *metav1.Time `json:"credentialExpiresAt,omitempty"`
	// failure is present while the token cannot be replaced.
	// +optional
	Failure *FailureStatus `json:"failure,omitempty"`
	// refreshHandled is the last value of the annotation
	// providertoken.dev/refresh-requested-at that was served.
	// +optional
	RefreshHandled string `json:"refreshHandled,omitempty"`
	// servedBy is the operator that works on this ProviderToken: the namespace and name of
	// its Lease. Another one that selects it, too, leaves it alone as long as the token is
	// replaced in time.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ServedBy string `json:"servedBy,omitempty"`
}

// TokenStatus describes a token without telling it.
type TokenStatus struct {
	// issuedAt is when it was requested.
	IssuedAt metav1.Time `json:"issuedAt"`
	// expiresAt is when it expires.
	ExpiresAt metav1.Time `json:"expiresAt"`
	// expirySource says how the expiry was learnt: ExpiresIn, ExpiresAt, JWT or Configured.
	// +optional
	ExpirySource string `json:"expirySource,omitempty"`
	// type of the token, such as Bearer; "other" for one that is not well known.
	// +optional
	Type string `json:"type,omitempty"`
	// scopes that the provider said it granted; where a namespace wrote the definition,
	// only those that were asked for.
	// +optional
	// +listType=atomic
	Scopes []string `json:"scopes,omitempty"`
}

// ProviderStatus tells where a definition came from.
type ProviderStatus struct {
	// kind of the source: Builtin, TokenProvider, ClusterTokenProvider or Inline.
	Kind string `json:"kind"`
	// name of the source.
	Name string `json:"name"`
	// version of the source: a hash of the catalog entry, or the generation of the object.
	// +optional
	Version string `json:"version,omitempty"`
	// method in use, where there are several ways in.
	// +optional
	Method string `json:"method,omitempty"`
	// host that the credentials are sent to.
	// +optional
	Host string `json:"host,omitempty"`
	// tokenURL that the credentials are sent to, as written in the definition or found in
	// the issuer's metadata.
	// +optional
	TokenURL string `json:"tokenURL,omitempty"`
}

// PropagationStatus tells when running pods were told that the target changed.
type PropagationStatus struct {
	// toldAt is when the last of the pods was told.
	ToldAt metav1.Time `json:"toldAt"`
	// pods that mounted the target and asked to be told.
	Pods int32 `json:"pods"`
}

// FailureStatus tells why and since when the token cannot be replaced.
type FailureStatus struct {
	// reason, as in the conditions.
	Reason string `json:"reason"`
	// since when.
	Since metav1.Time `json:"since"`
}

// ProviderToken keeps one access token of a third party fresh in a Secret.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ptok,categories=provider-token
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.status.provider.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.token.expiresAt`
// +kubebuilder:printcolumn:name="Refresh",type=string,JSONPath=`.status.refreshAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Secret",type=string,priority=1,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Served by",type=string,priority=1,JSONPath=`.status.servedBy`
// +kubebuilder:printcolumn:name="Credential-Expires",type=string,priority=1,JSONPath=`.status.credentialExpiresAt`
// +kubebuilder:printcolumn:name="Failure",type=string,priority=1,JSONPath=`.status.failure.reason`
// +kubebuilder:printcolumn:name="Failing",type=date,priority=1,JSONPath=`.status.failure.since`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="has(self.spec.provider) ? self.metadata.name.size() <= 49 : true",message="a ProviderToken with a provider of its own must have a name of at most 49 characters, so that a credential Secret's label can hold it"
// +kubebuilder:validation:XValidation:rule="(has(self.spec.target) && has(self.spec.target.secretName) ? self.spec.target.secretName : self.metadata.name) == (has(oldSelf.spec.target) && has(oldSelf.spec.target.secretName) ? oldSelf.spec.target.secretName : oldSelf.metadata.name)",message="target.secretName cannot be changed: create another ProviderToken for the new name, move the workloads, then delete this one"
// +kubebuilder:validation:XValidation:rule="(has(self.spec.target) && has(self.spec.target.template) && has(self.spec.target.template.type) ? self.spec.target.template.type : 'Opaque') == (has(oldSelf.spec.target) && has(oldSelf.spec.target.template) && has(oldSelf.spec.target.template.type) ? oldSelf.spec.target.template.type : 'Opaque')",message="target.template.type cannot be changed, since the type of a Secret cannot: create another ProviderToken"
// +kubebuilder:validation:XValidation:rule="(has(self.spec.target) && has(self.spec.target.format) && self.spec.target.format in ['BasicAuth','DockerConfigJSON'] ? self.spec.target.format : 'other') == (has(oldSelf.spec.target) && has(oldSelf.spec.target.format) && oldSelf.spec.target.format in ['BasicAuth','DockerConfigJSON'] ? oldSelf.spec.target.format : 'other')",message="target.format cannot be changed to or from BasicAuth and DockerConfigJSON, since the type of a Secret cannot: create another ProviderToken"
type ProviderToken struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec says which token, with whose credentials, and where to put it.
	Spec ProviderTokenSpec `json:"spec"`
	// status tells what the operator did and what it will do. Until it has looked,
	// observedGeneration is -1, so that kstatus does not take a new object for done.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status ProviderTokenStatus `json:"status,omitempty,omitzero"`
}

// ProviderTokenList is a list of ProviderToken.
// +kubebuilder:object:root=true
type ProviderTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ProviderToken `json:"items"`
}

// TargetName is the name of the Secret that holds the token.
func (p *ProviderToken) TargetName() string {
	if p.Spec.Target != nil && p.Spec.Target.SecretName != "" {
		return p.Spec.Target.SecretName
	}
	return p.Name
}

// RetainsTarget tells whether the target outlives the ProviderToken.
func (p *ProviderToken) RetainsTarget() bool {
	return p.Spec.Target != nil && p.Spec.Target.DeletionPolicy == RetainTarget
}

// CredentialSecrets lists the names of the Secrets that hold its credentials, each once.
func (p *ProviderToken) CredentialSecrets() []string {
	if p.Spec.Credentials == nil {
		return nil
	}
	return secretNames(p.Spec.Credentials.SecretName, p.Spec.Credentials.Keys)
}

// SecretNames lists the names of the Secrets that hold the credentials, each once.
func (c *PlatformCredentials) SecretNames() []string { return secretNames(c.SecretName, c.Keys) }

func secretNames(first string, keys []CredentialKey) []string {
	var names []string
	seen := map[string]bool{"": true}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	add(first)
	for _, k := range keys {
		add(k.SecretName)
	}
	return names
}
