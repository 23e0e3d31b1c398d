package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/rotation"
	"github.com/providertoken/operator/internal/schedule"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/target"
)

// inputsVersion tells hashes of one recipe from those of another. A hash of an
// unknown version counts as unchanged, so that an upgrade mints nothing.
const inputsVersion = "v1:"

// facts is everything that one reconcile knows. Phases add to it; only report
// turns it into conditions.
type facts struct {
	now  time.Time
	pt   *v1alpha1.ProviderToken
	name types.NamespacedName
	mem  recollection

	origin      origin
	resolved    provider.Resolved
	credentials provider.Credentials
	// sources are the Secrets that they are from, and what those say about their end.
	sources provenance
	// identity is the ServiceAccount whose token is a credential too; nil when there is none.
	identity *identity
	trust    exchange.Trust
	// vouched is true when credentials need not name the host that they are sent to.
	vouched bool
	// issuer is what the metadata of a definition without tokenURL are known by.
	issuer *issuer
	// provisioning is set while credentials have to be made before a token can be had.
	provisioning *provisioningAttempt
	// rotation is set where the refresh token is itself the credential.
	rotation *rotation.Want
	// blocked is why no exchange can be tried.
	blocked *problem

	// have is the target as observed; nil when absent.
	have *corev1.Secret
	seen target.Observation
	// unseen is true while the target must be read live before a token is asked for, and
	// looked once it was.
	unseen, looked bool
	// lagging is true while the cache has not caught up with our own last write.
	lagging bool
	// held is the newest token known for this object, in the target or in memory;
	// nil when there is none. It may have expired.
	held *target.Content
	// unwritable is why the target cannot be written.
	unwritable *problem
	// repaired is true when this reconcile mended the target without a new token.
	repaired bool
	// refreshed is true when this reconcile wrote a new token.
	refreshed bool

	inputs  string
	policy  schedule.Policy
	planned planned
	// parts of a second at which refreshes begin.
	parts int

	// tenure is whether this operator serves the object, or another one that selects it, too.
	tenure tenure
}

// planned is when a token is to be replaced, and when that begins, so that it is computed once.
type planned struct{ issued, expires, at, begin time.Time }

// gather reads what the reconcile is about. It asks the caches; the API server
// only where they cannot know.
func (r *Reconciler) gather(ctx context.Context, pt *v1alpha1.ProviderToken) (*facts, error) {
	f := &facts{
		now:    r.Clock.Now(),
		pt:     pt,
		name:   client.ObjectKeyFromObject(pt),
		inputs: inputs(pt),
		policy: source.Policy(pt.Spec.Refresh),
		parts:  parts(r.alarms.Len()),
	}
	f.mem = r.memory.of(f.name, pt.UID)
	if err := r.prepare(ctx, f); err != nil {
		return nil, err
	}
	if err := r.observe(ctx, f); err != nil {
		return nil, err
	}
	if f.live() {
		f.blocked = f.blocked.until(f.held.Token.ExpiresAt)
	}
	f.tenure = r.tenure(f)
	return f, nil
}

// prepare finds out whether and how an exchange could be made.
func (r *Reconciler) prepare(ctx context.Context, f *facts) error {
	if f.blocked = r.keepProvisioned(ctx, f); f.blocked != nil {
		return nil
	}
	found, p, err := r.finder().Find(ctx, f.pt)
	f.origin, f.blocked = found, sourceProblem(p)
	if err != nil || p != nil {
		return err
	}
	if p, err = r.finder().Permit(ctx, f.pt, f.origin); err != nil || p != nil {
		f.blocked = sourceProblem(p)
		return err
	}
	f.blocked, err = r.resolve(ctx, f)
	return err
}

// resolve makes every choice that the definition leaves open, with the credentials that are there.
func (r *Reconciler) resolve(ctx context.Context, f *facts) (*problem, error) {
	parameters := source.Parameters(f.pt)
	if wantsProvisioning(f.pt) {
		w, there, err := r.provisionedWallet(ctx, f)
		if err != nil {
			return nil, err
		}
		if there {
			if step := f.origin.Definition.Provisioning; step != nil {
				parameters = source.WithMethod(parameters, step.To)
			}
			return r.choose(f, w, parameters), nil
		}
	}
	w, p, err := r.finder().Open(ctx, source.LocationOf(f.pt, f.origin), f.origin)
	if err != nil || p != nil {
		return sourceProblem(p), err
	}
	if wantsProvisioning(f.pt) {
		return r.planProvisioning(f, w, parameters)
	}
	return r.choose(f, w, parameters), nil
}

// choose settles how a token is asked for with the credentials in w.
func (r *Reconciler) choose(f *facts, w wallet, parameters map[string]string) *problem {
	if p := w.UnknownKey(); p != nil {
		return sourceProblem(p)
	}
	chosen, credentials, err := w.Resolve(parameters)
	f.credentials = credentials
	if err != nil {
		return f.inputProblem(err)
	}
	f.resolved = *chosen
	f.sources = provenanceOf(w)
	if p := r.discover(f, w); p != nil {
		return p
	}
	if p := r.identify(f, w); p != nil {
		return p
	}
	if p := f.trusted(w); p != nil || f.resolved.NeedsDiscovery() {
		return p
	}
	// A request that cannot be made is found now, not in the queue. To sign for it takes long.
	if this := f.rehearsed(chosen, w); this.chosen == nil || this != f.mem.rehearsed {
		if _, err := f.resolved.NewRequest(f.rehearsal()); err != nil {
			return f.inputProblem(err)
		}
		r.memory.update(f.pt.UID, func(m *recollection) { m.rehearsed = this })
	}
	return f.prepareRotation(w)
}

// rehearsed is what a request was made with that was not sent. The zero value is of none.
type rehearsed struct {
	chosen  *provider.Resolved
	secrets string
	inputs  string
}

// rehearsed is what a request would be made with now; zero where it depends on more than
// that, as on the time, for a certificate expires.
func (f *facts) rehearsed(chosen *provider.Resolved, w wallet) rehearsed {
	_, certified := f.credentials[provider.CredCertificate]
	if certified || f.issuer != nil || f.identity != nil || w.Made != nil {
		return rehearsed{}
	}
	var secrets strings.Builder
	for _, name := range w.From.Names() {
		s := w.Secrets[name]
		if s == nil || s.ResourceVersion == "" {
			return rehearsed{}
		}
		secrets.WriteString(string(s.UID) + "/" + s.ResourceVersion + " ")
	}
	return rehearsed{chosen, secrets.String(), f.inputs}
}

// trusted decides whether the credentials may be sent to the endpoint, and how far it is trusted.
func (f *facts) trusted(w wallet) *problem {
	f.vouched = f.origin.Vouches(f.resolved) && !f.issuer.moved(f.resolved)
	f.trust = exchange.Trust{CABundle: f.resolved.CABundle, PublicOnly: !f.vouched}
	if !f.vouched && !w.Allows(f.host()) {
		return sourceProblem(source.HostNotAllowed(f.host()))
	}
	return nil
}

// host is where the next request goes.
func (f *facts) host() string {
	if f.resolved.NeedsDiscovery() {
		return f.issuer.host()
	}
	return f.resolved.Host()
}

// inputProblem is an *provider.Error of kind Input found before an exchange.
func (f *facts) inputProblem(err error) *problem {
	if f.origin.Platform != nil {
		return providerProblem(v1alpha1.ReasonInvalidCredentials,
			fmt.Sprintf("%s (credentials of ClusterTokenProvider %q)", err, f.origin.Name))
	}
	return inputProblem(err, f.pt)
}

// ask is what to ask the provider for, without a refresh token.
func (f *facts) ask() provider.RequestInput {
	in := source.Wish(f.pt)
	in.Credentials, in.Now, in.ID = f.credentials, f.now, "-"
	return in
}

// basis is what an attempt would be made with; another basis deserves another try.
func (f *facts) basis() string {
	return strings.Join([]string{f.inputs, string(f.origin.Kind), f.origin.Version, source.Fingerprint(f.credentials), f.confirmation()}, "|")
}

// confirmation is a person's consent to what cannot be undone, where that is in question:
// elsewhere the annotation means nothing.
func (f *facts) confirmation() string {
	if f.provisioning == nil && f.rotation == nil {
		return ""
	}
	return confirmed(f.pt)
}

// observe looks at the target: in the cache when that can be believed, else live.
func (r *Reconciler) observe(ctx context.Context, f *facts) error {
	if err := target.Check(f.pt.Spec.Target); err != nil {
		f.unwritable = targetProblem(err)
	}
	cached, lagging, err := r.cachedTarget(ctx, f)
	switch {
	case apierrors.IsNotFound(err) && r.absentForNow(f):
		f.see(nil)
		f.unseen = !f.mem.looked
		return nil
	case apierrors.IsNotFound(err):
		// Absent, or there without our label, or the cache is late: only a live read can tell.
		return r.observeLive(ctx, f)
	case err != nil:
		return fmt.Errorf("reading target Secret: %w", err)
	}
	if lagging {
		f.lagging = true
		f.have, f.seen = cached, target.Observe(f.pt, cached)
		f.held = &f.mem.published.content
		return nil
	}
	f.see(cached)
	if f.mem.published == nil && !f.mem.looked && f.need() != "" {
		// Before the first mint of an object in a process: another one may just have published.
		return r.observeLive(ctx, f)
	}
	r.adopt(f)
	return nil
}

// cachedTarget is the target in the cache, and whether that lags behind our own last
// write. Then the echo of that write is awaited: said before the second look, so that it
// cannot come between the two unheard.
func (r *Reconciler) cachedTarget(ctx context.Context, f *facts) (cached *corev1.Secret, lagging bool, err error) {
	key := client.ObjectKey{Namespace: f.pt.Namespace, Name: f.pt.TargetName()}
	for range 2 {
		cached = &corev1.Secret{}
		// Nobody changes it: writes are merged into copies.
		if err := r.Targets.Get(ctx, key, cached, client.UnsafeDisableDeepCopy); err != nil {
			return nil, false, err
		}
		if f.mem.published == nil || !older(cached.ResourceVersion, f.mem.published.resourceVersion) {
			return cached, false, nil
		}
		r.memory.update(f.pt.UID, func(m *recollection) { m.awaited = true })
	}
	return cached, true, nil
}

// absentForNow tells that a target which is not in the cache need not be looked for yet:
// before a first token is asked for, the rehearsal of its creation finds it; and when
// that token is there, its creation does. Both lead to a live read. So a first token
// costs none, as a rule. Where status knows of a token, or another operator had it, the
// target is there and the cache lacks it for some reason.
func (r *Reconciler) absentForNow(f *facts) bool {
	if f.mem.published != nil || f.unwritable != nil || f.pt.Status.Token != nil || f.pt.Status.ServedBy != "" && f.pt.Status.ServedBy != r.Identity {
		return false
	}
	if f.mem.minted != nil {
		return f.mem.looked
	}
	return f.mem.failure == nil && f.blocked == nil && !f.pt.Spec.Suspend && f.turnAt().IsZero()
}

func (r *Reconciler) observeLive(ctx context.Context, f *facts) error {
	f.unseen, f.looked = false, true
	live, err := r.Writer.Get(ctx, client.ObjectKey{Namespace: f.pt.Namespace, Name: f.pt.TargetName()})
	if err != nil {
		return fmt.Errorf("reading target Secret: %w", err)
	}
	f.see(live)
	r.memory.update(f.pt.UID, func(m *recollection) { m.looked = true })
	r.adopt(f)
	return nil
}

// see takes s for what the target is.
func (f *facts) see(s *corev1.Secret) {
	f.lagging = false
	f.have, f.seen, f.held = s, target.Observe(f.pt, s), nil
	if c := f.seen.Content; c != nil && (f.seen.Intact || !c.Token.Access.IsZero()) {
		f.held = c
	}
	// Memory wins over an older token that somebody put back, and over a template
	// that left the token itself unreadable.
	if p := f.mem.published; p != nil && (f.held == nil || !f.held.Token.IssuedAt.After(p.content.Token.IssuedAt)) {
		f.held = &p.content
	}
	if f.unwritable == nil {
		f.unwritable = targetProblem(target.Accepts(f.pt, s))
	}
}

// adopt remembers a token that was found in the target, as after a restart or a restore.
func (r *Reconciler) adopt(f *facts) {
	if f.mem.published != nil || f.held == nil {
		return
	}
	p := &published{resourceVersion: f.seen.ResourceVersion, content: *f.held}
	f.mem.published = p
	r.memory.update(f.pt.UID, func(m *recollection) { m.published = p })
}

// older tells whether resource version a was before b.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}

// live tells whether the held token has not expired.
func (f *facts) live() bool {
	return f.held != nil && f.now.Before(f.held.Token.ExpiresAt)
}

// current tells whether the held token is for the spec as it is now.
func (f *facts) current() bool {
	return f.held != nil && (f.held.Inputs == f.inputs || !strings.HasPrefix(f.held.Inputs, inputsVersion))
}

// parts is into how many the second before a refresh is divided, with so many objects: what
// begins together costs the least, and what begins in thousands waits for each other.
func parts(objects int) int { return min(objects/1000, 20) }

// refreshAt is when the held token is to be replaced; zero when there is none.
func (f *facts) refreshAt() time.Time { return f.plan().at }

// beginAt is when the replacing of the held token begins; zero when there is none.
func (f *facts) beginAt() time.Time { return f.plan().begin }

func (f *facts) plan() planned {
	if f.held == nil {
		return planned{}
	}
	if t := f.held.Token; f.planned.issued != t.IssuedAt || f.planned.expires != t.ExpiresAt {
		policy, seed := source.Policy(f.pt.Spec.Refresh), schedule.Seed(string(f.pt.UID), t.IssuedAt)
		at := schedule.RefreshAt(t.IssuedAt, t.ExpiresAt, policy, seed)
		begin := schedule.BeginAt(at, t.IssuedAt, t.ExpiresAt, policy, seed, f.parts)
		f.planned = planned{issued: t.IssuedAt, expires: t.ExpiresAt, at: at, begin: begin}
	}
	return f.planned
}

func refreshAt(pt *v1alpha1.ProviderToken, issued, expires time.Time) time.Time {
	return schedule.RefreshAt(issued, expires, source.Policy(pt.Spec.Refresh), schedule.Seed(string(pt.UID), issued))
}

// need is why a new token is wanted; empty when it is not.
type need string

const (
	needFirst     need = "first token"
	needExpired   need = "expired"
	needChanged   need = "spec changed"
	needRequested need = "refresh requested"
	needDue       need = "due"
	needUndated   need = "issued in the future"
)

// need decides, before anything is fetched.
func (f *facts) need() need {
	switch {
	case f.held == nil:
		return needFirst
	case !f.live():
		return needExpired
	case !f.current():
		return needChanged
	case f.request() != "":
		return needRequested
	case schedule.FromFuture(f.held.Token.IssuedAt, f.held.Token.ExpiresAt, f.now):
		return needUndated
	case !f.now.Before(f.beginAt()):
		return needDue
	}
	return ""
}

// request is the refresh request that nobody served yet; empty when there is none.
func (f *facts) request() string {
	wanted := requested(f.pt)
	if wanted == "" || wanted == f.pt.Status.RefreshHandled || wanted == f.mem.handled {
		return ""
	}
	if f.held != nil && f.held.HandledRefresh == wanted {
		return ""
	}
	return wanted
}

// maxRequest bounds what is copied of an annotation into others, in bytes.
const maxRequest = 128

// requested is the value of the refresh request, shortened where it is very long.
func requested(pt *v1alpha1.ProviderToken) string {
	return bounded(pt.Annotations[v1alpha1.RefreshRequestedAtAnnotation])
}

// bounded is value, or its hash where it is very long.
func bounded(value string) string {
	if len(value) <= maxRequest {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// inputs is a versioned hash over what in the ProviderToken itself decides which
// token it gets: no secrets, and nothing of the catalog or of provider objects,
// whose change is used from the next refresh on.
func inputs(pt *v1alpha1.ProviderToken) string {
	fixed := struct {
		Ref         *v1alpha1.ProviderReference  `json:"ref,omitempty"`
		Inline      *v1alpha1.ProviderDefinition `json:"inline,omitempty"`
		Credentials *v1alpha1.Credentials        `json:"credentials"`
		Scopes      []v1alpha1.Scope             `json:"scopes,omitempty"`
		Audience    string                       `json:"audience,omitempty"`
		Resources   []string                     `json:"resources,omitempty"`
	}{shallow(pt.Spec.ProviderRef), shallow(pt.Spec.Provider), pt.Spec.Credentials, pt.Spec.Scopes, pt.Spec.Audience, pt.Spec.Resources}
	if fixed.Ref != nil && fixed.Ref.Kind == "" {
		fixed.Ref.Kind = v1alpha1.BuiltinProvider
	}
	if d := fixed.Inline; d != nil {
		d.Limits, d.CABundle, d.CABundleRef, d.TokenLifetime, d.UseRefreshToken = nil, "", nil, nil, ""
	}
	data, err := json.Marshal(fixed)
	if err != nil {
		return "" // cannot happen: plain strings and maps
	}
	sum := sha256.Sum256(data)
	return inputsVersion + hex.EncodeToString(sum[:16])
}

// shallow is a copy whose fields can be set without changing the original.
func shallow[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
