package trial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/schedule"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/token"
)

// Describe tells what would be sent, and sends nothing.
func (p *Plan) Describe() (Report, error) { return p.finish(p.begin()) }

// Send makes the exchange, once, and tells what came of it. An exchange that brings no
// token is no error: the report tells.
func (p *Plan) Send(ctx context.Context) (Report, error) {
	r := p.begin()
	answer, err := p.trial.Exchanger.Do(ctx, p.request, p.trust)
	if err != nil {
		p.decide(&r, token.Token{}, failure(err))
		return p.finish(r)
	}
	got, err := p.resolved.Decode(p.request, answer)
	if p.resolved.Grant == provider.RefreshToken && err == nil && !got.Refresh.IsZero() {
		if err := p.trial.Keep(got.Refresh); err != nil {
			return r, fmt.Errorf("the provider sent a new refresh token, which could not be kept: %w; the old one may be used up: authorize the client anew", err)
		}
		r.Notes = append(r.Notes, "the provider sent a new refresh token, which was kept where you said; the old one may be used up: put the new one into the credential Secret")
	}
	r.Answer = p.showAnswer(answer)
	p.read(&r, answer, got, err)
	if err != nil {
		p.decide(&r, token.Token{}, failure(err))
		return p.finish(r)
	}
	p.decide(&r, got, nil)
	return p.finish(r)
}

// begin is what is known before anything is sent.
func (p *Plan) begin() Report {
	r := Report{
		ProviderToken: strings.TrimPrefix(p.pt.Namespace+"/"+p.pt.Name, "/"),
		Provider: Provider{
			Kind: string(p.origin.Kind), Name: p.origin.Name, Version: p.origin.Version,
			Method: p.resolved.Method, Grant: string(p.request.Grant), ClientAuthentication: string(p.resolved.ClientAuthentication),
			Host: p.resolved.Host(), Trust: p.trustWords(),
		},
		Request: p.showRequest(),
	}
	if r.Provider.Version == "0" {
		r.Provider.Version = "" // an object out of a file has none
	}
	wanted := p.resolved.RequiredCredentials()
	for _, name := range slices.Sorted(maps.Keys(p.input.Credentials)) {
		if slices.Contains(wanted, name) {
			r.Credentials = append(r.Credentials, Credential{Name: name, From: p.from[name], Shape: count(p.input.Credentials[name].Reveal())})
		}
	}
	if p.pt.Spec.Suspend {
		r.Notes = append(r.Notes, "spec.suspend is true: the operator would ask for nothing")
	}
	if err := target.Check(p.pt.Spec.Target); err != nil {
		r.Notes = append(r.Notes, "the operator would ask for nothing, since it could not write the Secret: "+err.Error())
	}
	if p.brought() && p.origin.Platform == nil && p.wallet.From.SecretName != "" {
		r.Notes = append(r.Notes, p.wants())
	}
	r.Notes = append(r.Notes, p.notes...)
	return r
}

// wants is what a Secret has to be like that does in the cluster what the given credentials did here.
func (p *Plan) wants() string {
	text := fmt.Sprintf("in the cluster, the credential Secret %q needs the label %s: %s", p.wallet.From.SecretName, v1alpha1.CredentialsForLabel, p.origin.BoundTo())
	if !p.vouched {
		text += fmt.Sprintf(" and the annotation %s: %s", v1alpha1.AllowedHostsAnnotation, strings.TrimSuffix(p.resolved.Host(), ":443"))
	}
	return text
}

func (p *Plan) trustWords() string {
	switch {
	case p.vouched && p.origin.Kind == v1alpha1.BuiltinProvider:
		return "the catalog vouches for the host"
	case p.vouched:
		return "the ClusterTokenProvider vouches for the host"
	case p.brought():
		return "nobody vouches for the host but you; public addresses only"
	}
	return "the credential Secret allows the host; public addresses only"
}

// read says where everything was found.
func (p *Plan) read(r *Report, a provider.Answer, got token.Token, failed error) {
	found := p.resolved.Read(a)
	add := func(what, pointer, says string) {
		r.Reading = append(r.Reading, ReadField{what, p.mask.prose(pointer), says})
	}
	if !found.Readable {
		add("body", "", "neither a JSON object nor a form")
		return
	}
	if found.Error != "" {
		code := "an error that is not among the registered ones"
		if e := failure(failed); failed != nil && e.Code != "" {
			code = e.Code
		}
		add("error", found.Error, code)
		return
	}
	if failed != nil {
		add("access token", found.AccessToken, absent(found.AccessToken, "there"))
		return
	}
	kind := "opaque"
	if found.JWT {
		kind = "a JWT"
	}
	add("access token", found.AccessToken, kind+", "+count(got.Access.Reveal()))
	add("token type", found.TokenType, p.mask.text(shownType(got.Type)))
	add("expiry", expiryPointer(found, got), fmt.Sprintf("%s (%s)", got.Lifetime(), got.ExpirySource))
	if found.Scope != "" {
		add("scope", found.Scope, p.mask.prose(strings.Join(got.Scopes, " ")))
	}
	switch {
	case !got.Refresh.IsZero() && got.RefreshExpiresAt.IsZero():
		add("refresh token", found.RefreshToken, "there; how long it works is not said")
	case !got.Refresh.IsZero():
		add("refresh token", found.RefreshToken, fmt.Sprintf("there; works for %s (%s)", got.RefreshExpiresAt.Sub(got.IssuedAt), found.RefreshExpiry))
	case p.resolved.UseRefreshToken == provider.Never:
		add("refresh token", "", "not looked for: this provider's are not used")
	default:
		add("refresh token", "", "none; the credentials are used every time")
	}
}

func absent(pointer, otherwise string) string {
	if pointer == "" {
		return "not found"
	}
	return otherwise
}

// expiryPointer is where the expiry came from that is believed.
func expiryPointer(found provider.Reading, got token.Token) string {
	switch got.ExpirySource {
	case token.JWT:
		return "the token's own claim exp"
	case token.Configured:
		return "tokenLifetime of the definition"
	default:
		return found.Expiry
	}
}

// shownType is a token type that is known, since a definition may take any member for it.
func shownType(t string) string {
	for _, known := range []string{"Bearer", "DPoP", "PoP", "MAC", "Basic", "JWT", "Token", "SSWS"} {
		if strings.EqualFold(t, known) {
			return t
		}
	}
	if t == "" {
		return "none (N_A)"
	}
	return "another, " + count(t)
}

// decide tells what the operator would do now.
func (p *Plan) decide(r *Report, got token.Token, failed *provider.Error) {
	now := p.trial.Clock.Now()
	if failed != nil {
		r.Decision = p.failed(failed, now)
		return
	}
	issued, expires := got.IssuedAt.UTC().Truncate(time.Second), got.ExpiresAt.UTC().Truncate(time.Second)
	if !now.Before(expires) {
		r.Decision = p.failed(&provider.Error{
			Kind: provider.Unavailable, Problem: "the token endpoint issued a token that has expired already",
			Fix: "check the clocks of the provider and of this machine",
		}, now)
		return
	}
	r.Decision = &Decision{
		Success: true,
		Message: p.origin.Name + " issued a token",
		Next:    fmt.Sprintf("the operator would write it into Secret %q; nothing was written now", p.pt.TargetName()),
	}
	policy := source.Policy(p.pt.Spec.Refresh)
	life := expires.Sub(issued)
	from, to, early := schedule.Window(life, policy)
	plan := &RefreshPlan{
		IssuedAt: issued, ExpiresAt: expires, Lifetime: life.String(), Source: string(got.ExpirySource),
		RefreshAt: schedule.RefreshAt(issued, expires, policy, schedule.Seed(string(p.pt.UID), issued)),
		Earliest:  issued.Add(from).Truncate(time.Second), Latest: issued.Add(to).Truncate(time.Second),
		Why: why(policy.Effective(), from, to, early),
	}
	if schedule.LifetimeTooShort(life, policy) {
		plan.Warning = fmt.Sprintf("%s: a token that lives %s cannot be refreshed %s before its expiry; a kubelet needs up to 90 s to show a new one in a mounted volume",
			v1alpha1.ReasonLifetimeTooShort, life, policy.Effective().MinimumLead)
	}
	r.Refresh = plan
}

// why words the rules of schedule.RefreshAt that decided.
func why(p schedule.Policy, from, to time.Duration, early bool) string {
	share := "two thirds"
	if p.AtPercent != 0 {
		share = fmt.Sprintf("%d %%", p.AtPercent)
	}
	text := fmt.Sprintf("%s of its life", share)
	if early {
		text = fmt.Sprintf("%s before its expiry, which is earlier than %s of its life", p.MinimumLead, share)
	}
	if from == to {
		return text + ", but not before 40 % of it, nor within " + p.MinimumInterval.String() + " of its issue"
	}
	return text + fmt.Sprintf(", and up to %s earlier, so that many tokens do not come due together", (to-from).Round(time.Second))
}

// failed words a failure as the operator does.
func (p *Plan) failed(e *provider.Error, now time.Time) *Decision {
	reason, stalled := source.Reason(e.Kind)
	d := &Decision{
		Kind: string(e.Kind), Reason: reason, Code: e.Code,
		Message: fmt.Sprintf("%s at %s: %s", p.origin.Name, p.resolved.Host(), e.Error()),
	}
	at := schedule.RetryAt(schedule.Failure{
		Class: schedule.Class(e.Kind), Attempt: 1, At: now, Since: now, RetryAfter: e.RetryAfter, Seed: string(p.pt.UID),
	})
	switch {
	case e.Kind == provider.LoginDenied:
		d.Reason = v1alpha1.ReasonLoginFrozen
		d.Next = "the operator would freeze this login, so that the account is not locked: one probe after a quarter of an hour, then ever fewer, and at once when the credential Secret changes"
	case at.IsZero():
		d.Next = "the operator would not try again before something is edited"
	case stalled:
		d.Next = "the operator would mark it Stalled, and probe sparsely; an edit is tried at once"
	case e.Kind == provider.Throttled:
		d.Next = "the operator would leave the whole host alone until then"
	default:
		d.Next = "the operator would try again, with ever longer pauses of up to 5 minutes, and shorter ones while a token is about to expire"
	}
	if !at.IsZero() {
		at = at.UTC().Truncate(time.Second)
		d.RetryAt = &at
	}
	return d
}

// finish is the last line of defence: every text of the report goes through the mask,
// wherever it came from.
func (p *Plan) finish(r Report) (Report, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return Report{}, err
	}
	var all any
	if err := json.Unmarshal(text, &all); err != nil {
		return Report{}, err
	}
	if text, err = json.Marshal(p.masked(all)); err != nil {
		return Report{}, err
	}
	var clean Report
	if err := json.Unmarshal(text, &clean); err != nil {
		return Report{}, errors.New("an instant of the report reads like a secret; it is not shown")
	}
	return clean, nil
}

func (p *Plan) masked(value any) any {
	switch v := value.(type) {
	case string:
		return p.mask.text(v)
	case []any:
		for i := range v {
			v[i] = p.masked(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = p.masked(v[name])
		}
	}
	return value
}
