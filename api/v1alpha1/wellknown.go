package v1alpha1

// Labels and annotations that users write.
const (
	// CredentialsForLabel on a Secret binds it to one provider: it is handed to no
	// other, and a Secret without it is never read. The value is the name of a
	// catalog entry ("UP42"), or kind and name of a provider object
	// ("ClusterTokenProvider.corp-sso", "TokenProvider.crm"), or of the
	// ProviderToken with an inline definition ("ProviderToken.crm-token").
	CredentialsForLabel = "providertoken.dev/credentials-for"
	// AllowedHostsAnnotation on a credential Secret lists the hosts, with port
	// unless it is 443, to which its content may be sent on behalf of a definition
	// that neither the catalog nor a ClusterTokenProvider vouches for. Comma-separated, exact.
	AllowedHostsAnnotation = "providertoken.dev/allowed-hosts"
	// AllowedAudiencesAnnotation on a ServiceAccount lists the audiences that tokens may
	// be issued for on behalf of ProviderTokens; with AllowedHostsAnnotation, which says
	// where they may be sent, it is the ServiceAccount's consent. Comma-separated, exact.
	AllowedAudiencesAnnotation = "providertoken.dev/allowed-audiences"
	// ConfirmAnnotation on a ProviderToken permits one thing that the operator does not
	// do by itself, because it could not be undone, each time its value changes: to try
	// a provisioning step again whose outcome is not known, to use a refresh token that
	// was perhaps used before, or one out of a restored backup. Any value will do; an
	// instant is customary.
	ConfirmAnnotation = "providertoken.dev/confirmed-at"
	// RefreshRequestedAtAnnotation on a ProviderToken asks for one refresh each
	// time its value changes. Any value will do; an instant is customary.
	RefreshRequestedAtAnnotation = "providertoken.dev/refresh-requested-at"
	// CredentialExpiresAtAnnotation on a credential Secret says when what is in it ends,
	// RFC 3339: a client secret, a certificate, a password that must be changed. The
	// operator cannot know it, and warns before.
	CredentialExpiresAtAnnotation = "providertoken.dev/credential-expires-at"
	// SeverityLabel on a ProviderToken is how severe an alert about it is: critical,
	// warning (also for every other value, and without the label) or info.
	SeverityLabel = "providertoken.dev/severity"
	// CABundleLabel on a ConfigMap lets provider definitions refer to it.
	CABundleLabel = "providertoken.dev/ca-bundle"
	// ShardLabel on a ProviderToken says which of several operators works on it, each of
	// which runs with --watch-label-selector. It is copied onto the target, so that an
	// operator that selects by this label alone watches no other operator's targets.
	ShardLabel = "providertoken.dev/shard"
	// MountsLabel on a pod asks that it be told at once when a target Secret that it
	// mounts changes, where the operator runs with --propagation. The value is the
	// name of the Secret; when empty, all targets that the pod mounts.
	MountsLabel = "providertoken.dev/mounts"
)

// ToldAnnotation is written on pods with MountsLabel: what they were told of, as
// name=resourceVersion of target Secrets, separated by commas. Its change makes the
// kubelet look.
const ToldAnnotation = "providertoken.dev/told"

// Labels and annotations that the operator writes on target Secrets.
const (
	// TargetLabel marks every target Secret, so that the operator can watch them
	// without watching others.
	TargetLabel = "providertoken.dev/target"
	// OwnerAnnotation is namespace/name of the ProviderToken that a target belongs to.
	OwnerAnnotation = "providertoken.dev/owner"
	// IssuedAtAnnotation is when the token in the target was requested, RFC 3339 in UTC.
	IssuedAtAnnotation = "providertoken.dev/issued-at"
	// ExpiresAtAnnotation is when the token in the target expires, RFC 3339 in UTC.
	ExpiresAtAnnotation = "providertoken.dev/expires-at"
	// RefreshAtAnnotation is when the operator planned, at the time of writing, to replace the token.
	RefreshAtAnnotation = "providertoken.dev/refresh-at"
	// ExpirySourceAnnotation says how the expiry was learnt.
	ExpirySourceAnnotation = "providertoken.dev/expiry-source"
	// TokenTypeAnnotation is the token_type of the token in the target.
	TokenTypeAnnotation = "providertoken.dev/token-type"
	// ScopesAnnotation is the granted scopes, separated by spaces, where the provider told them.
	ScopesAnnotation = "providertoken.dev/scopes"
	// InputsAnnotation is a versioned hash over what in the ProviderToken's spec decides which token it gets.
	InputsAnnotation = "providertoken.dev/inputs"
	// ContentHashAnnotation is a hash of the target's data as written, which tells edits by others.
	ContentHashAnnotation = "providertoken.dev/content-hash"
	// RefreshHandledAnnotation is the last value of RefreshRequestedAtAnnotation that was served.
	RefreshHandledAnnotation = "providertoken.dev/refresh-handled"
)

// CredentialsForValue is the value of CredentialsForLabel that binds a Secret
// to the provider of that kind and name.
func CredentialsForValue(kind ProviderKind, name string) string {
	if kind == BuiltinProvider || kind == "" {
		return name
	}
	return string(kind) + "." + name
}

// Condition types of a ProviderToken.
const (
	// ReadyCondition is true while the target holds an unexpired token for this spec.
	ReadyCondition = "Ready"
	// CredentialsResolvedCondition is true when provider and credentials could be read and fit together.
	CredentialsResolvedCondition = "CredentialsResolved"
	// TokenIssuedCondition is true when the provider's last answer was a token.
	TokenIssuedCondition = "TokenIssued"
	// SecretPublishedCondition is true when the target is as it should be.
	SecretPublishedCondition = "SecretPublished"
	// ReconcilingCondition (kstatus) is present and true while the first token, or
	// the token for a changed spec, is on its way.
	ReconcilingCondition = "Reconciling"
	// StalledCondition (kstatus) is present and true when nothing will get better without an edit.
	StalledCondition = "Stalled"
)

// Reasons of conditions and events.
const (
	ReasonReady                    = "Ready"
	ReasonResolved                 = "Resolved"
	ReasonIssued                   = "Issued"
	ReasonPublished                = "Published"
	ReasonProgressing              = "Progressing"
	ReasonNoToken                  = "NoToken"
	ReasonTokenExpired             = "TokenExpired"
	ReasonOutdated                 = "Outdated"
	ReasonSuspended                = "Suspended"
	ReasonWaitingForCredentials    = "WaitingForCredentials"
	ReasonWaitingForProvider       = "WaitingForProvider"
	ReasonCredentialsNotFound      = "CredentialsNotFound"
	ReasonProviderNotFound         = "ProviderNotFound"
	ReasonProviderUnavailableHere  = "ProviderNotAvailable"
	ReasonInlineProviderDisabled   = "InlineProviderDisabled"
	ReasonInvalidProvider          = "InvalidProvider"
	ReasonInvalidCredentials       = "InvalidCredentials"
	ReasonHostNotAllowed           = "HostNotAllowed"
	ReasonInvalidTemplate          = "InvalidTemplate"
	ReasonTargetConflict           = "TargetConflict"
	ReasonTargetImmutable          = "TargetImmutable"
	ReasonTargetTypeMismatch       = "TargetTypeMismatch"
	ReasonTargetTooLarge           = "TargetTooLarge"
	ReasonTargetRefused            = "TargetWriteRefused"
	ReasonTargetRepaired           = "TargetRepaired"
	ReasonAPIServerUnavailable     = "APIServerUnavailable"
	ReasonRequestDenied            = "RequestDenied"
	ReasonLoginDenied              = "LoginDenied"
	ReasonLoginFrozen              = "LoginFrozen"
	ReasonRefreshDenied            = "RefreshTokenDenied"
	ReasonThrottled                = "Throttled"
	ReasonProviderUnavailable      = "ProviderUnavailable"
	ReasonProviderMisconfigured    = "ProviderMisconfigured"
	ReasonLifetimeTooShort         = "LifetimeTooShort"
	ReasonOperatorStateUnavailable = "OperatorStateUnavailable"
	// ReasonCredentialExpiresSoon: the credential works, but its Secret says that it ends within 14 days.
	ReasonCredentialExpiresSoon = "CredentialExpiresSoon"
	// ReasonCredentialExpired: its Secret says that the credential has ended. Whether it has, the provider decides.
	ReasonCredentialExpired = "CredentialExpired"
	// ReasonCredentialExpiryUnreadable: the annotation providertoken.dev/credential-expires-at is not an instant.
	ReasonCredentialExpiryUnreadable = "CredentialExpiryUnreadable"
	// ReasonNotAllowed: the ClusterTokenProvider does not let this namespace use its
	// credentials, or not for what is asked.
	ReasonNotAllowed = "NotAllowed"
	// ReasonDiscoveryFailed: the issuer's metadata could not be read or believed.
	ReasonDiscoveryFailed = "DiscoveryFailed"
	// ReasonServiceAccountRefused: the ServiceAccount did not opt in, or its audience is refused.
	ReasonServiceAccountRefused = "ServiceAccountNotAllowed"
	// ReasonReauthorizationRequired: the refresh token is used up; only a new one helps.
	ReasonReauthorizationRequired = "ReauthorizationRequired"
	// ReasonRefreshOutcomeUnknown: a refresh was begun, and whether it used up the refresh token is not known.
	ReasonRefreshOutcomeUnknown = "RefreshOutcomeUnknown"
	// ReasonCredentialInUse: another ProviderToken uses the same refresh token.
	ReasonCredentialInUse = "CredentialInUse"
	// ReasonRestoredState: the operator's record of the refresh token is a restored copy.
	ReasonRestoredState = "RestoredState"
	// ReasonProvisioned: the provider made credentials, which are stored.
	ReasonProvisioned = "Provisioned"
	// ReasonProvisioningUnknown: a provisioning step was begun, and its outcome is not known.
	ReasonProvisioningUnknown = "ProvisioningOutcomeUnknown"
	ReasonPodReadsOnce        = "PodReadsTokenOnce"
	ReasonPropagationFailed   = "PropagationFailed"
	// ReasonServedByAnother: two operators select the same ProviderToken.
	ReasonServedByAnother = "ServedByAnother"
)
