package main

// class says what becomes of a state by itself, and with it which alert tells of it.
type class string

const (
	fine    class = "nothing is wrong"
	waiting class = "in order for ten minutes, after which the reason is another one"
	login   class = "frozen, so that the account is not locked: a person is needed, at once"
	person  class = "a person is needed: nothing gets better without an edit"
	passing class = "passes by itself, as a rule: it is tried again all the time"
	warning class = "a warning: tokens are refreshed as before"
	event   class = "an event only: no condition has this reason"
)

// alerts of a class.
func (c class) alerts() string {
	return map[class]string{
		login:   "`ProviderTokenLoginFrozen`, at once",
		person:  "`ProviderTokenActionRequired`, after five minutes; `ProviderTokenExpired`",
		passing: "`ProviderTokenRefreshFailing`, when half of the time is over that was left for the refresh; `ProviderTokenExpired`; for a new object `ProviderTokenNeverIssued`, after ten minutes",
	}[c]
}

// reason is what there is to know about one of them.
type reason struct {
	name      string
	class     class
	condition string // by which it is told, and as what
	// message as it is printed, with … for what varies, and ¦ where texts are put together.
	message string
	// means is what happened, and what is still good.
	means string
	// do is what to do, the likeliest first.
	do []string
	// look are commands to find out more.
	look []string
}

// Commands that several reasons need. NAME and NAMESPACE stand for the ProviderToken's.
const (
	lookSecret  = "kubectl -n NAMESPACE get secret CREDENTIAL -o jsonpath='{.metadata.labels}{\"\\n\"}{.metadata.annotations}{\"\\n\"}'"
	lookKeys    = "kubectl -n NAMESPACE get secret CREDENTIAL -o go-template='{{range $k, $v := .data}}{{$k}}{{\"\\n\"}}{{end}}'"
	lookTarget  = "kubectl -n NAMESPACE get secret TARGET -o jsonpath='{.type} immutable={.immutable}{\"\\n\"}{.metadata.annotations}{\"\\n\"}'"
	lookRecords = "kubectl -n providertoken-system get configmaps -l providertoken.dev/login-record"
	lookLog     = "kubectl -n providertoken-system logs -l app.kubernetes.io/component=manager --tail=200 | grep NAME"
	again       = "kubectl -n NAMESPACE annotate ptok NAME --overwrite providertoken.dev/refresh-requested-at=\"$(date)\""
	confirmIt   = "kubectl -n NAMESPACE annotate ptok NAME --overwrite providertoken.dev/confirmed-at=\"$(date)\""
)

//nolint:funlen // a table
func reasons() []reason {
	return []reason{
		{name: "Ready", class: fine, condition: "`Ready` is true", message: `Secret "…" holds a token that works`,
			means: "The target Secret holds an unexpired token for this spec. A failing refresh does not change that: look at `TokenIssued`."},
		{name: "Resolved", class: fine, condition: "`CredentialsResolved` is true", message: `the credentials for … are there`,
			means: "Provider and credential Secret were found and fit together."},
		{name: "Issued", class: fine, condition: "`TokenIssued` is true", message: `… issued the token`, means: "The provider's last answer was a token."},
		{name: "Published", class: fine, condition: "`SecretPublished` is true", message: `Secret "…" is as it should be`, means: "The target Secret is as the spec wants it."},
		{name: "Progressing", class: fine, condition: "any, unknown", message: `the token has not been issued yet`,
			means: "The operator has not come to this yet. It takes seconds; if it lasts, see [nobody leads](#nobody-leads).", look: []string{lookLog}},
		{name: "NoToken", class: fine, condition: "`Ready` is false", message: `the first token is on its way`,
			means: "A new ProviderToken, whose first exchange is under way or waits for its turn."},
		{name: "Outdated", class: fine, condition: "`Ready` is false", message: `the token in Secret "…" was issued for an earlier spec; another one is on its way`,
			means: "The spec was edited such that another token is needed. The one in the Secret stays where it is, and may still work."},
		{name: "Suspended", class: fine, condition: "`TokenIssued` is unknown; without a token, `Ready` is false", message: `there is no token for this spec, and none is asked for while spec.suspend is true`,
			means: "Somebody set `spec.suspend`. The token at hand works until it expires, and no other is asked for.",
			do:    []string{"Find out who suspended it and why, then set `spec.suspend` to false."},
			look:  []string{`kubectl -n NAMESPACE patch ptok NAME --type=merge -p '{"spec":{"suspend":false}}'`}},
		{name: "TokenExpired", class: passing, condition: "`Ready` and `SecretPublished` are false", message: `the token in Secret "…" expired at …; refreshing is suspended: set spec.suspend to false`,
			means: "**Workloads are refused now.** The message goes on with why there is no other token; its reason is in `TokenIssued` or `CredentialsResolved`, and in `status.failure` with since when.",
			do:    []string{"Read on under the reason in `status.failure`. As soon as that is mended, the next token comes within seconds; nothing needs to be restarted."},
			look:  []string{"kubectl -n NAMESPACE get ptok NAME -o jsonpath='{.status.failure}{\"\\n\"}'", again}},

		{name: "WaitingForCredentials", class: waiting, condition: "`CredentialsResolved` is false", message: `there is no Secret "…" with the label …: … in namespace …; create it, or label it`,
			means: "A credential Secret is not there yet, as in the course of a sync; or it is there without the label that binds it to this provider, which reads the same. For a ServiceAccount: it does not consent yet. Wakes up by itself.",
			do:    []string{"Create the Secret, or label it. After ten minutes the reason becomes [`CredentialsNotFound`](#credentialsnotfound)."}, look: []string{lookSecret}},
		{name: "WaitingForProvider", class: waiting, condition: "`CredentialsResolved` is false", message: `… "…" does not exist…; create it, or correct providerRef`,
			means: "The provider object, or the ConfigMap with its CA bundle, is not there yet. Wakes up by itself. After ten minutes the reason becomes [`ProviderNotFound`](#providernotfound) or [`InvalidProvider`](#invalidprovider).",
			look:  []string{"kubectl get clustertokenproviders; kubectl -n NAMESPACE get tokenproviders"}},
		{name: "CredentialsNotFound", class: person, condition: "`CredentialsResolved` is false", message: `there is no Secret "…" with the label …: … in namespace …; create it, or label it`,
			means: "For ten minutes there has been no credential Secret that is bound to this provider. A Secret that is missing and one that is bound elsewhere read the same, so that nobody can probe for Secrets. The token at hand works until it expires.",
			do: []string{
				"Somebody deleted or renamed it: restore it from Git, or from wherever it is synchronised (External Secrets, Sealed Secrets: look at their objects).",
				"It lacks the label: `kubectl -n NAMESPACE label secret CREDENTIAL providertoken.dev/credentials-for=PROVIDER`.",
				"With platform-held credentials: tell whoever owns the ClusterTokenProvider.",
			}, look: []string{lookSecret}},
		{name: "ProviderNotFound", class: person, condition: "`CredentialsResolved` is false", message: `the catalog has no provider "…", only …; correct providerRef.name, or set providerRef.kind to TokenProvider or ClusterTokenProvider`,
			means: "`spec.providerRef` names nothing that there is.", do: []string{"Correct name or kind; names are case-sensitive."},
			look: []string{"kubectl get clustertokenproviders; kubectl -n NAMESPACE get tokenproviders"}},
		{name: "ProviderNotAvailable", class: person, condition: "`CredentialsResolved` is false", message: `this installation watches single namespaces and reads no ClusterTokenProvider; use a TokenProvider in this namespace instead`,
			means: "The operator was installed for single namespaces, where it has no right to read cluster-scoped objects.", do: []string{"Copy the definition into a TokenProvider of the namespace."}},
		{name: "InlineProviderDisabled", class: person, condition: "`CredentialsResolved` is false", message: `this installation allows no spec.provider; use providerRef with a catalog entry, a TokenProvider or a ClusterTokenProvider`,
			means: "The platform runs the operator with `--inline-providers=false`.", do: []string{"Move the definition into a TokenProvider, if you may create one, or ask for a ClusterTokenProvider."}},
		{name: "InvalidProvider", class: person, condition: "`CredentialsResolved` is false", message: `the catalog has no entry "…" to start from, only …; correct base`,
			means: "The definition of the provider contradicts itself, or its CA bundle is not there. The message names the field.", do: []string{"Correct that field. A namespace's own definition is in its TokenProvider or `spec.provider`; of a ClusterTokenProvider, tell whoever owns it."}},
		{name: "InvalidCredentials", class: person, condition: "`CredentialsResolved` is false", message: `… has no credentials of its own; set spec.credentials.secretName to a Secret with the label …: …`,
			means: "The credential Secret is there, but a key is missing, empty, or not what it should be (a PEM file, a JSON document, characters that cannot be sent). Nothing was sent.",
			do:    []string{"Put under the key what the message asks for. A line break at its end is no harm; quotes and spaces are."}, look: []string{lookKeys}},
		{name: "HostNotAllowed", class: person, condition: "`CredentialsResolved` is false", message: `every credential Secret must name … in its annotation … before its content is sent there`,
			means: "A namespace wrote the endpoint itself (or an issuer's metadata moved it to another host), and the credential Secret does not consent to be sent there.",
			do:    []string{"Is that host right? If not, correct the definition. If it is: `kubectl -n NAMESPACE annotate secret CREDENTIAL providertoken.dev/allowed-hosts=HOST`."}, look: []string{lookSecret}},
		{name: "NotAllowed", class: person, condition: "`CredentialsResolved` is false", message: `ClusterTokenProvider "…" …; ask whoever owns it to add it to …, or correct this ProviderToken`,
			means: "The platform holds these credentials, and does not lend them to this namespace, or not for this scope, audience or resource.", do: []string{"Ask the platform team, or ask for less."},
			look: []string{"kubectl get clustertokenprovider PROVIDER -o jsonpath='{.spec.allow}{\"\\n\"}'"}},
		{name: "ServiceAccountNotAllowed", class: person, condition: "`CredentialsResolved` is false", message: `there is no ServiceAccount "…" in namespace … that permits this; create it, and let its annotations list (comma-separated) what its token is for: …: "…" and …: "…"`,
			means: "A token of that ServiceAccount should be the credential, and the ServiceAccount, the installation or a policy of the cluster does not let it.", do: []string{"Set the two annotations that the message names; see [workload-identity.md](workload-identity.md)."},
			look: []string{"kubectl -n NAMESPACE get serviceaccount ACCOUNT -o jsonpath='{.metadata.annotations}{\"\\n\"}'"}},
		{name: "DiscoveryFailed", class: person, condition: "`TokenIssued` or `CredentialsResolved` is false", message: `the metadata name another issuer (RFC 8414 §3.3); write issuerURL exactly as the issuer writes itself, with or without a slash at its end`,
			means: "The issuer's metadata could not be believed, or name no endpoint that can be used.", do: []string{"Correct `issuerURL`, or set `tokenURL` instead."}, look: []string{"curl -sS ISSUER/.well-known/openid-configuration"}},
		{name: "RequestDenied", class: person, condition: "`TokenIssued` is false", message: `the token endpoint refused the client's credentials ¦(HTTP …); correct ¦client_id¦ and ¦client_secret¦ in the credential Secret`,
			means: "The provider answered, and refused: `invalid_client`, `unauthorized_client`, `invalid_scope` or the like. It is asked again after a quarter of an hour, and ever more seldom up to once a day; at once when the Secret or the spec changes.",
			do: []string{
				"The client secret was changed or has ended: have a new one made, and write it into the credential Secret.",
				"The client may not have this scope or audience: correct `spec.scopes`, or have it granted.",
				"The provider closed the account: ask it.",
			}, look: []string{lookKeys, again}},
		{name: "LoginDenied", class: login, condition: "`TokenIssued` is false", message: `…; correct username and password in the credential Secret`,
			means: "The provider refused a login that used to work. It is tried once more after 30 s or more, in case that was a hiccup, and is [frozen](#loginfrozen) then. The token at hand works until it expires.", do: []string{"As for [`LoginFrozen`](#loginfrozen)."}, look: []string{lookRecords}},
		{name: "LoginFrozen", class: login, condition: "`TokenIssued` is false", message: `…; to keep the account from being locked, this login is not tried again before …, or until the credential Secret changes`,
			means: "The provider refused username and password. More tries could lock the account, so there are none before the instant in the message: for all objects that use this login, across restarts. The token at hand works until it expires.",
			do: []string{
				"The password was changed: write the new one into the credential Secret. It is used at once.",
				"The account is locked, or wants a second factor or new terms: log in as a person at the provider. Then delete the record (below), and request a refresh.",
				"It is right, and the provider erred: delete the record, and request a refresh. Two such requests in a quarter of an hour are the most that happens.",
			}, look: []string{lookRecords, "kubectl -n providertoken-system delete configmap RECORD", again}},
		{name: "RefreshTokenDenied", class: passing, condition: "`TokenIssued` is false", message: `the token endpoint refused the refresh token`,
			means: "The provider refused a refresh token that came along with a token. The primary credentials are used at once in its place; if the state lasts, they fail, too, with a reason of their own."},
		{name: "ReauthorizationRequired", class: person, condition: "`TokenIssued` is false", message: `the provider refused the refresh token; put a new refresh token under key "…" of Secret "…"`,
			means: "The refresh token is itself the credential, and is used up, revoked or expired. No machine can make another one.", do: []string{"Log in as a person (the provider's consent page), take the new refresh token, and put it under the key that the message names. It is used at once."}, look: []string{lookKeys}},
		{name: "RefreshOutcomeUnknown", class: person, condition: "`TokenIssued` is false", message: `a refresh was begun and its outcome is not known, because the operator stopped or the answer was lost; the same refresh token is tried once more at …, and if that is to be avoided, ¦put a new refresh token under key "…" of Secret "…"`,
			means: "Whether the refresh token is used up is not known. It is tried once more when the token at hand is nearly expired: a provider that takes a second use for theft revokes everything then.", do: []string{"Put a new refresh token into the Secret before that instant, if you can have one; else wait."}},
		{name: "CredentialInUse", class: person, condition: "`TokenIssued` is false", message: `ProviderToken "…" uses the refresh token under key "…" of Secret "…", and only one can; use a refresh token of its own in another Secret, or delete that ProviderToken`,
			means: "Two ProviderTokens with one rotating refresh token would revoke each other's.", do: []string{"Have a refresh token of its own made for each, or let both workloads mount the one target Secret."}},
		{name: "RestoredState", class: person, condition: "`TokenIssued` is false", message: `the record of the refresh token in Secret "…" is missing, spoilt or a restored copy, so the refresh token may have been used by others, and a second use may revoke everything; put a new refresh token under key "…" of Secret "…"¦, or, if it was not used elsewhere, ¦set the annotation … of this ProviderToken to a new value`,
			means: "After a restore from backup, an old refresh token may be the wrong one. See [disaster-recovery.md](disaster-recovery.md).", do: []string{"Put in a new refresh token. If you know that nothing has used it since the backup: confirm."}, look: []string{confirmIt}},
		{name: "ProvisioningOutcomeUnknown", class: person, condition: "`TokenIssued` or `CredentialsResolved` is false", message: `an earlier request to make credentials was begun, and its outcome was not recorded; look at the provider's list of credentials and revoke one that nobody uses; then set the annotation … of this ProviderToken to a new value to let the operator try once more, or put working credentials into Secret "…" yourself`,
			means: "Credentials may exist at the provider that nobody knows. Another try could leave more of them behind.", do: []string{"Revoke what nobody uses, then confirm."}, look: []string{confirmIt}},
		{name: "Throttled", class: passing, condition: "`TokenIssued` is false", message: `the provider asks for a pause ¦(HTTP …); if this lasts, ask the provider for a higher limit, or need fewer tokens of it`,
			means: "The provider asked for a pause, for which all requests to its host wait; or one ProviderToken was edited or asked to refresh so often that it waits for its turn (the message says so).",
			do:    []string{"Share tokens: ProviderTokens with the same credentials and scopes can be one, whose Secret several workloads mount.", "Lower `limits` in the provider's definition, so that the provider needs not refuse.", "Find out which program edits it in a loop."}},
		{name: "ProviderUnavailable", class: passing, condition: "`TokenIssued` is false", message: `the token endpoint failed ¦(HTTP …); check whether the provider has an outage`,
			means: "No usable answer: an outage, the network, DNS, an egress rule, or something in between that answers in the provider's place. [faults.md](faults.md) has the message of each of 35 faults. It is tried again all the time, more often near the expiry, and all are refreshed as soon as it answers.",
			do: []string{
				"Is it one host or all? `providertoken_host_down` and the other ProviderTokens tell. All: the cluster's way out (NetworkPolicy, proxy, DNS).",
				"One: the provider's status page. Tell the provider, and say until when your tokens work.",
			}, look: []string{"kubectl get ptok -A -o wide | grep ProviderUnavailable", lookLog}},
		{name: "ProviderMisconfigured", class: person, condition: "`TokenIssued` is false", message: `the token endpoint redirects, which is never followed ¦(HTTP …); set tokenURL to where it redirects, if that is to be trusted`,
			means: "Something answers that is not the token endpoint, or whose certificate is not right: 3xx, 404, 405, 415, TLS. Nothing was sent where the certificate was wrong. Retries are slow.",
			do:    []string{"Correct `tokenURL` or the parameters of the definition.", "For a company's own authority: set `caBundle`.", "The provider let its certificate expire: tell it."}, look: []string{"kubectl -n NAMESPACE get ptok NAME -o jsonpath='{.status.provider}{\"\\n\"}'"}},
		{name: "OperatorStateUnavailable", class: passing, condition: "`TokenIssued` or `CredentialsResolved` is false", message: `the login could not be written down before it is tried, which keeps the account from being locked; if this lasts, check that the operator may write Secrets and ConfigMaps in its own namespace`,
			means: "The operator must write something down before it may go on (a login, a refresh token, credentials that were made), and cannot. **Do not restart it where the message says that something waits in its memory.**",
			do:    []string{"Look at the operator's Role in its own namespace, at quotas and admission policies there, and at the API server."}, look: []string{lookRecords, lookLog}},
		{name: "InvalidTemplate", class: person, condition: "`SecretPublished` is false", message: `…`,
			means: "`spec.target` cannot be rendered. The message has the place in the template. What is in the Secret stays as it is.", do: []string{"Correct the template; [formats.md](formats.md) lists its functions."}},
		{name: "TargetConflict", class: person, condition: "`SecretPublished` is false", message: `…; use another target.secretName in a new ProviderToken, or delete the Secret if nobody needs it`,
			means: "The target Secret belongs to somebody else, who keeps it: another ProviderToken, another program, or a person. It is looked at again every 30 s.", do: []string{"Find out whose it is, and choose another name, or delete it."}, look: []string{lookTarget}},
		{name: "TargetImmutable", class: person, condition: "`SecretPublished` is false", message: `Secret … is immutable; delete it, and the operator creates it anew`, means: "Somebody set `immutable: true` on the target Secret, so that no token can be written.", do: []string{"Delete the Secret. Mounted files keep their content meanwhile."}, look: []string{lookTarget}},
		{name: "TargetTypeMismatch", class: person, condition: "`SecretPublished` is false", message: `Secret … is not of type …, and the type of a Secret cannot be changed; delete it, and the operator creates it anew`, means: "The target Secret was made with another type.", do: []string{"Delete it."}, look: []string{lookTarget}},
		{name: "TargetTooLarge", class: person, condition: "`SecretPublished` is false", message: `the Secret would be larger than 1 MiB; let target.template.data hold less`, means: "The rendered Secret would exceed what Kubernetes takes.", do: []string{"Shorten the template."}},
		{name: "TargetWriteRefused", class: person, condition: "`SecretPublished` is false", message: `the API server does not let the operator …; look at the operator's permissions, and at the quotas and admission policies of the namespace; it is tried again every 30 s`,
			means: "Rights, a quota, an admission policy or the end of the namespace keep the Secret from being written. That is found before a token is minted.", do: []string{"`kubectl -n NAMESPACE describe quota`; ask who runs admission policies; compare the operator's rights with [least-privilege.md](least-privilege.md)."},
			look: []string{"kubectl auth can-i update secrets -n NAMESPACE --as=system:serviceaccount:providertoken-system:providertoken-manager"}},
		{name: "APIServerUnavailable", class: passing, condition: "`SecretPublished` is false", message: `the API server does not answer about Secret "…"; it is tried again every 30 s or more often: if this lasts, look at the API server, its etcd and its admission webhooks; a new token waits in the operator's memory meanwhile, so do not restart it`,
			means: "For 30 s or more the API server has failed what the target needs.", do: []string{"Look at the API server, etcd and webhooks."}, look: []string{"kubectl get --raw='/readyz?verbose'", "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations"}},

		{name: "LifetimeTooShort", class: warning, condition: "`TokenIssued` is true", message: `… issues tokens of …, too short to be replaced … before their end; mounted files, which follow with up to 90 s delay, may hold an expired one`,
			means: "Tokens live shorter than a kubelet needs to show a changed Secret.", do: []string{"Have the provider issue longer ones; or run the operator with `--propagation` ([propagation.md](propagation.md)); or let the workload read the Secret from the API."}},
		{name: "CredentialExpiresSoon", class: warning, condition: "`CredentialsResolved` is true", message: `the credentials for … are there¦, but end at …, as the annotation … says; have new ones made, write them into the Secret, and set the annotation to their end`,
			means: "The annotation `providertoken.dev/credential-expires-at` of the credential Secret says that it ends within 14 days. The alert `ProviderTokenCredentialExpires` says so, too.", do: []string{"Have a new one made, and write it into the Secret together with its end. It is used from the next refresh on; edits mint nothing."}, look: []string{"kubectl get ptok -A -o wide"}},
		{name: "CredentialExpired", class: warning, condition: "`CredentialsResolved` is true", message: `the credentials for … are there¦, but ended at …, as the annotation … says; write new ones into the Secret, and set the annotation to their end`,
			means: "By the annotation the credential has ended. Whether it has, the provider decides: it is used as before.", do: []string{"As for [`CredentialExpiresSoon`](#credentialexpiressoon); if it was replaced already, correct the annotation."}, look: []string{lookSecret}},
		{name: "CredentialExpiryUnreadable", class: warning, condition: "`CredentialsResolved` is true", message: `the credentials for … are there¦, but the annotation … of Secret "…" is not an instant such as 2027-01-31T00:00:00Z (RFC 3339); correct it¦, or nobody is warned before they end`,
			means: "Nobody would be warned.", do: []string{"Write it as `2027-01-31T00:00:00Z`."}, look: []string{lookSecret}},

		{name: "TargetRepaired", class: event, condition: "none", message: `Secret "…" was put back as it should be, with the same token`, means: "Somebody edited or deleted the target Secret, and the operator undid it, without asking the provider.", do: []string{"If it happens again and again: `kubectl get secret TARGET --show-managed-fields -o yaml` says who edits it."}},
		{name: "Provisioned", class: event, condition: "none", message: `the provider made credentials, which Secret "…" keeps from now on; the Secret that they were made with is not needed any more`, means: "Back that Secret up: it outlives its ProviderToken, and cannot be made again for nothing."},
		{name: "ServedByAnother", class: event, condition: "none", message: `operator … serves this ProviderToken, and … selects it, too; correct --watch-label-selector or --watch-namespaces of one of them, or the labels here`,
			means: "Two operators, or two shards, select the same ProviderToken. One of them serves it (`status.servedBy`); the other one would take over if its token were not replaced in time.",
			do:    []string{"Let their selectors exclude each other; see [scaling.md](scaling.md)."}, look: []string{"kubectl -n NAMESPACE get ptok NAME -o jsonpath='{.status.servedBy}{\"\\n\"}'"}},
		{name: "PodReadsTokenOnce", class: event, condition: "none", message: `Pod "…" asks to be told of Secret "…", but …: mount the Secret as a volume without subPath, or restart the pod after each refresh`, means: "Kubernetes never updates environment variables and `subPath` mounts.", do: []string{"Mount the Secret as a volume."}},
		{name: "PropagationFailed", class: event, condition: "none", message: `Pod "…" could not be told of the new content of Secret "…" (…): check that config/propagation is applied, and that no admission policy or webhook of the cluster refuses patches of pods/status; the operator tries again, and the file follows by itself within 90 s`, means: "The pod sees the token later, as without propagation.", do: []string{"Apply `config/propagation`; see [propagation.md](propagation.md)."}},
	}
}
