// Package trial makes one exchange for a ProviderToken from wherever it runs, with the
// operator's own code, and tells all about it but secrets.
//
// It writes nothing into a cluster, and must not import internal/controller.
package trial

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/consent"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/manifest"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/provisioning"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/token"
)

// Clock tells the time.
type Clock interface{ Now() time.Time }

// Trial tries ProviderTokens.
type Trial struct {
	Finder    source.Finder
	Exchanger source.Exchanger
	Clock     Clock
	// NewID makes identifiers for signed assertions.
	NewID func() string
	// Given are credentials that the person who tries brings along; they win over Secrets.
	Given provider.Credentials
	// Ask asks for a credential that is nowhere; nil when nobody can be asked.
	Ask func(name string) (token.Secret, error)
	// AllowedHosts are those that the person who tries lets Given be sent to, as the
	// annotation providertoken.dev/allowed-hosts of a Secret does.
	AllowedHosts string
	// Keep is called with a refresh token that replaces the one that was the credential,
	// before anything else is done with the answer. Without it such a refresh token is not used.
	Keep func(token.Secret) error
}

// RefusalError is why nothing was sent: what the person who tries, or an edit, has to mend.
type RefusalError struct {
	// Reason is the condition's in the operator's words; empty where only a trial refuses.
	Reason, Message string
}

// Error implements error.
func (r *RefusalError) Error() string { return r.Message }

func refuse(format string, args ...any) error {
	return &RefusalError{Message: fmt.Sprintf(format, args...)}
}

func refused(p *source.Problem) error { return &RefusalError{Reason: p.Reason, Message: p.Message} }

// Plan is an exchange that is decided and not made.
type Plan struct {
	trial    *Trial
	pt       *v1alpha1.ProviderToken
	origin   source.Origin
	wallet   source.Wallet
	resolved provider.Resolved
	input    provider.RequestInput
	request  provider.Request
	trust    exchange.Trust
	vouched  bool
	mask     *mask
	from     map[string]string // where each credential came from
	notes    []string
}

// Prepare makes all choices that the operator would make, and sends no credential. Where
// the endpoint is told by an issuer's metadata, those are asked for. The error is a
// *RefusalError, a *provider.Error, or whatever reading failed with.
func (t *Trial) Prepare(ctx context.Context, pt *v1alpha1.ProviderToken) (*Plan, error) {
	p := &Plan{trial: t, pt: pt, mask: newMask(), from: map[string]string{}}
	var problem *source.Problem
	var err error
	if p.origin, problem, err = t.Finder.Find(ctx, pt); err != nil {
		return nil, err
	}
	if problem != nil {
		return nil, refused(problem)
	}
	if problem, err = t.Finder.Permit(ctx, pt, p.origin); err != nil {
		return nil, err
	}
	if problem != nil {
		return nil, refused(problem)
	}
	if err := p.open(ctx); err != nil {
		return nil, err
	}
	if err := p.choose(); err != nil {
		return nil, err
	}
	if err := p.locate(ctx); err != nil {
		return nil, err
	}
	if p.resolved.Grant == provider.RefreshToken && t.Keep == nil {
		return nil, refuse("the credential of %s is a refresh token, which many providers accept only once: trying it would use it up, and the operator would be locked out with the old one. "+
			"Suspend the ProviderToken, or try with a refresh token of its own, and say where the successor is kept", pt.Name)
	}
	p.input = source.Wish(pt)
	p.input.Credentials, p.input.Now, p.input.ID = p.credentials(), t.Clock.Now(), t.NewID()
	if p.request, err = p.resolved.NewRequest(p.input); err != nil {
		return nil, err
	}
	p.learn()
	return p, nil
}

// open reads the Secrets. Those that are missing are no problem yet: what they hold may
// have been given.
func (p *Plan) open(ctx context.Context) error {
	from := source.LocationOf(p.pt, p.origin)
	if c := p.pt.Spec.Credentials; c != nil && c.Provision != nil {
		s, err := p.trial.Finder.Secret(ctx, p.pt.Namespace, c.Provision.SecretName, p.origin)
		if err != nil {
			return err
		}
		if s == nil || provisioning.StateOf(s) != provisioning.Made {
			return refuse("%s wants credentials that its provider makes only once (credentials.provision), and a trial makes none: run \"kubectl providertoken provision\", or let the operator do it", p.pt.Name)
		}
		from = source.Location{Namespace: p.pt.Namespace, SecretName: c.Provision.SecretName}
	}
	p.wallet = source.Wallet{Secrets: map[string]*corev1.Secret{}, From: from, Definition: p.origin.Definition}
	for _, name := range from.Names() {
		found, problem, err := p.trial.Finder.Open(ctx, source.Location{Namespace: from.Namespace, SecretName: name}, p.origin)
		switch {
		case err != nil:
			return err
		case problem != nil && len(p.trial.Given) == 0 && p.trial.Ask == nil:
			return refused(problem)
		case problem != nil:
			p.notes = append(p.notes, problem.Message)
		default:
			maps.Copy(p.wallet.Secrets, found.Secrets)
		}
	}
	if problem := p.wallet.UnknownKey(); problem != nil {
		return refused(problem)
	}
	for name := range p.trial.Given {
		if known := p.origin.Definition.CredentialNames(); !slices.Contains(known, name) {
			return refuse("the provider knows no credential %q; it knows %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// has tells whether a credential is there or was given.
func (p *Plan) has(name string) bool {
	if !p.trial.Given[name].IsZero() {
		return true
	}
	value, found := p.wallet.Get(name)
	return found && !manifest.Placeholder(value.Reveal())
}

// choose settles the way in. Where credentials are missing, and somebody can be asked, the
// first way in is taken that wants no more than others.
func (p *Plan) choose() error {
	parameters := source.Parameters(p.pt)
	if c := p.pt.Spec.Credentials; c != nil && c.Provision != nil && p.origin.Definition.Provisioning != nil {
		parameters = source.WithMethod(parameters, p.origin.Definition.Provisioning.To)
	}
	var err error
	if p.resolved, err = p.origin.Definition.Resolve(parameters, p.has); err == nil {
		return nil
	}
	likely, other := p.likely(parameters)
	if other != nil {
		return err // it is not about credentials
	}
	missing := slices.DeleteFunc(likely.RequiredCredentials(), p.has)
	if p.trial.Ask == nil {
		return p.missing(err, likely, missing)
	}
	given := maps.Clone(p.trial.Given)
	if given == nil {
		given = provider.Credentials{}
	}
	for _, name := range missing {
		if given[name], err = p.trial.Ask(name); err != nil {
			return fmt.Errorf("asking for %s: %w", name, err)
		}
	}
	p.trial.Given = given
	p.resolved, err = p.origin.Definition.Resolve(parameters, p.has)
	return err
}

// likely is the way in that somebody wants who has not brought everything: one for which
// something is there, else the first that needs no ready-made assertion.
func (p *Plan) likely(parameters map[string]string) (provider.Resolved, error) {
	def := p.origin.Definition
	for _, m := range def.Methods {
		if parameters["method"] != "" {
			break
		}
		way, err := def.Resolve(source.WithMethod(parameters, m.Name), func(name string) bool { return name != provider.CredAssertion || p.has(name) })
		if err == nil && slices.ContainsFunc(way.RequiredCredentials(), p.has) {
			return way, nil
		}
	}
	for _, never := range []string{provider.CredAssertion, ""} {
		way, err := def.Resolve(parameters, func(name string) bool { return name != never && name != provider.CredClientAssertion || p.has(name) })
		if err == nil {
			return way, nil
		}
	}
	return def.Resolve(parameters, func(string) bool { return true })
}

func (p *Plan) missing(err error, likely provider.Resolved, missing []string) error {
	if sa := p.wallet.From.ServiceAccount; sa != nil {
		for _, name := range likely.FederatedCredentials() {
			if slices.Contains(missing, name) {
				audience := cmp.Or(sa.Audience, likely.IdentityAudience())
				return refuse("the operator would ask the cluster for a token of ServiceAccount %s, which a trial does not; bring one: kubectl create token %s --namespace %s --audience %s | kubectl providertoken try %s --credential %s=-",
					sa.Name, sa.Name, p.pt.Namespace, audience, p.pt.Name, name)
			}
		}
	}
	return fmt.Errorf("%w; or bring it along: --credential %s=@FILE", err, strings.Join(missing, "=@FILE --credential "))
}

// locate finds out where the request goes, and whether the credentials may.
func (p *Plan) locate(ctx context.Context) error {
	vouched := p.origin.Vouches(p.resolved)
	if p.resolved.NeedsDiscovery() {
		issuer := p.resolved.IssuerURL
		if err := p.permitHost(vouched, source.HostOf(issuer)); err != nil {
			return err
		}
		trust := exchange.Trust{CABundle: p.resolved.CABundle, PublicOnly: !vouched}
		metadata, failed := source.ReadMetadata(ctx, p.trial.Exchanger, issuer, trust)
		if failed != nil {
			return fmt.Errorf("asking the issuer %s for its metadata: %w", source.HostOf(issuer), failed)
		}
		var err error
		if p.resolved, err = p.resolved.WithEndpoint(metadata); err != nil {
			return err
		}
		vouched = vouched && p.resolved.Host() == source.HostOf(issuer)
	}
	p.vouched = vouched
	p.trust = exchange.Trust{CABundle: p.resolved.CABundle, PublicOnly: !vouched}
	return p.permitHost(vouched, p.resolved.Host())
}

// permitHost asks the Secrets, and who brought credentials along.
func (p *Plan) permitHost(vouched bool, host string) error {
	switch {
	case vouched:
		return nil
	case len(p.wallet.Secrets) > 0 && !p.wallet.Allows(host):
		return refused(source.HostNotAllowed(host))
	case p.brought() && !consent.Hosts(p.trial.AllowedHosts, host):
		return refuse("nobody vouches for %s, where the credentials would be sent: neither the catalog nor a ClusterTokenProvider; if it is right, say so: --allow-host %s (in the cluster, the credential Secret's annotation %s does)",
			host, strings.TrimSuffix(host, ":443"), v1alpha1.AllowedHostsAnnotation)
	}
	return nil
}

// brought tells whether credentials are used that no Secret holds.
func (p *Plan) brought() bool { return len(p.trial.Given) > 0 || len(p.wallet.Secrets) == 0 }

// credentials are those of the Secrets, and over them what was given.
func (p *Plan) credentials() provider.Credentials {
	all := p.wallet.Credentials()
	for name, value := range all {
		if manifest.Placeholder(value.Reveal()) {
			delete(all, name)
			continue
		}
		p.from[name] = "Secret " + p.secretOf(name)
	}
	for name, value := range p.trial.Given {
		if !value.IsZero() {
			all[name] = value
			p.from[name] = "given"
		}
	}
	return all
}

func (p *Plan) secretOf(name string) string {
	secret, key := p.wallet.Where(name)
	if key != name {
		return secret + ", key " + key
	}
	return secret
}

// learn lets the mask know everything that must not be shown.
func (p *Plan) learn() {
	for name, value := range p.input.Credentials {
		switch {
		case public(name):
		case name == provider.CredUsername:
			p.mask.hideName(value.Reveal())
		default:
			p.mask.hide(value.Reveal())
		}
	}
	if _, proof, found := strings.Cut(p.request.Header.Get("Authorization"), " "); found {
		p.mask.hide(proof)
	}
	for _, f := range fields(p.request) {
		if f.name == provider.CredAssertion || f.name == provider.CredClientAssertion {
			p.mask.hide(f.value)
		}
	}
}

// public claims that a credential is no secret: who the client is, not how it proves that.
func public(name string) bool {
	return name == provider.CredClientID || name == provider.CredKeyID || name == provider.CredCertificate
}

// Login tells that the request is a login with username and password: a wrong one counts
// at the provider, and may lock the account.
func (p *Plan) Login() bool { return p.resolved.Grant == provider.Password }

// Host is where the request goes.
func (p *Plan) Host() string { return p.resolved.Host() }

// failure is err as the *provider.Error that exchanges promise.
func failure(err error) *provider.Error {
	if pe, ok := errors.AsType[*provider.Error](err); ok {
		return pe
	}
	return &provider.Error{Kind: provider.Unavailable, Problem: "the exchange failed in an unexpected way"}
}
