//go:build crash

package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
)

const (
	loadTokens   = 200
	loadLifetime = 60 * time.Second
	// churnEvery is how often somebody does something to one of them.
	churnEvery = 400 * time.Millisecond
	// goneFor is how long a ProviderToken stays deleted.
	goneFor = 2 * time.Second
	// lifeLeft is what every token has before the operator is killed again.
	lifeLeft = 25 * time.Second
	// lifeBetweenKills is up to how many requests of a kind the operator gets through.
	lifeBetweenKills = 40
)

// The ways in to the simulated providers.
const (
	byClient   = "client"
	byPassword = "password"
	byProject  = "project"
	byLogin    = "login"
)

// cast is the ProviderTokens of a trial, with a credential each, and their providers.
type cast struct {
	*stage
	sim     *providersim.Simulator
	members []member
	// skip is up to how many requests of a kind pass before a kill, and patience how
	// long one may take to come.
	skip     int
	patience time.Duration
	// elects tells that there is leader election.
	elects bool
	// tend is called while it settles, if set.
	tend func()
}

type member struct{ namespace, name, way string }

func (m member) key() client.ObjectKey { return client.ObjectKey{Namespace: m.namespace, Name: m.name} }

func (m member) object() string { return m.namespace + "/" + m.name }

// scopes that a way knows; none where a ProviderToken of it can ask for none.
func (m member) scopes() [][]v1alpha1.Scope {
	switch m.way {
	case byClient:
		return [][]v1alpha1.Scope{{"a"}, {"b"}, {"a", "b"}}
	case byPassword:
		return [][]v1alpha1.Scope{{"email"}, {"profile"}, {"email", "profile"}}
	}
	return nil
}

func newCast(t *testing.T, st *stage, life time.Duration) *cast {
	t.Helper()
	sim, err := providersim.Start(providersim.Options{Lifetime: life})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	c := &cast{stage: st, sim: sim, skip: lifeBetweenKills, patience: killPatience}
	basic := func(r *http.Request, _ url.Values) (string, string) {
		user, _, _ := r.BasicAuth()
		return user, ""
	}
	inForm := func(field string) func(*http.Request, url.Values) (string, string) {
		return func(_ *http.Request, form url.Values) (string, string) {
			return form.Get(field), form.Get("refresh_token")
		}
	}
	for way, p := range map[string]struct {
		src source
		def v1alpha1.ProviderDefinition
	}{
		byClient:   {source{url: sim.Generic.TokenURL(), who: inForm("client_id")}, v1alpha1.ProviderDefinition{Grant: "ClientCredentials", ClientAuthentication: "SecretPost"}},
		byPassword: {source{url: sim.UP42.TokenURL(), who: inForm("username")}, v1alpha1.ProviderDefinition{Base: providersim.UP42Name}},
		byProject:  {source{url: sim.UP42Project.TokenURL(), who: basic}, v1alpha1.ProviderDefinition{Base: providersim.UP42ProjectName}},
		byLogin:    {source{url: sim.SpatiaFi.LoginURL(), who: basic}, v1alpha1.ProviderDefinition{Base: providersim.SpatiaFiName, Method: "LoginToken"}},
	} {
		p.src.sim, p.src.life = sim.CABundle(), life
		gate := st.providerGate(t, p.src)
		p.def.TokenURL, p.def.CABundle = gate.url, gate.caBundle
		p.def.Limits = &v1alpha1.Limits{Concurrency: 8, PerSecond: 100}
		st.create(t.Context(), t, &v1alpha1.ClusterTokenProvider{
			ObjectMeta: metav1.ObjectMeta{Name: c.provider(way)}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: p.def},
		})
	}
	return c
}

func (c *cast) provider(way string) string { return c.name + "-" + way }

// add makes a ProviderToken and its credential.
func (c *cast) add(ctx context.Context, t *testing.T, namespace, way string) {
	t.Helper()
	m := member{namespace: namespace, name: fmt.Sprintf("%s-%03d", way, len(c.members)), way: way}
	const secret = "a secret of its own"
	var data map[string]string
	switch way {
	case byClient:
		c.sim.Generic.SetCredentials(m.object(), secret)
		data = map[string]string{"client_id": m.object(), "client_secret": secret}
	case byPassword:
		c.sim.UP42.SetLogin(m.object(), secret)
		data = map[string]string{"username": m.object(), "password": secret}
	case byProject:
		c.sim.UP42Project.SetCredentials(m.object(), secret)
		data = map[string]string{"project_id": m.object(), "project_api_key": secret}
	case byLogin:
		c.sim.SpatiaFi.SetLogin(m.object(), secret)
		data = map[string]string{"username": m.object(), "password": secret}
	}
	c.create(ctx, t, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: m.name + "-login",
			Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + c.provider(way)},
		},
		StringData: data,
	}, c.wish(m))
	c.members = append(c.members, m)
}

// wish is the ProviderToken of a member: refreshed with more than half of its life left.
func (c *cast) wish(m member) *v1alpha1.ProviderToken {
	return &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: m.name, Labels: map[string]string{shardLabel: c.name}},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: c.provider(m.way)},
			Credentials: &v1alpha1.Credentials{SecretName: m.name + "-login"},
			Refresh: &v1alpha1.RefreshPolicy{
				AtPercent: 48, MinimumLead: &metav1.Duration{Duration: 10 * time.Second}, MinimumInterval: &metav1.Duration{Duration: time.Second},
			},
		},
	}
}

// accepts tells whether a member's provider takes a token.
func (c *cast) accepts(m member, token string) bool {
	host := map[string]*providersim.Host{
		byClient: c.sim.Generic.Host, byPassword: c.sim.UP42.Host, byProject: c.sim.UP42Project.Host, byLogin: c.sim.SpatiaFi.Host,
	}[m.way]
	return host.Accepts(token)
}

// settle waits until every member is Ready and its provider takes what its target holds.
func (c *cast) settle(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	open := slices.Clone(c.members)
	for len(open) > 0 {
		open = slices.DeleteFunc(open, func(m member) bool { return c.settled(ctx, m) })
		if c.tend != nil {
			c.tend()
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			for _, m := range open[:min(3, len(open))] {
				var pt v1alpha1.ProviderToken
				_ = c.k8s.Get(t.Context(), m.key(), &pt)
				status, _ := json.MarshalIndent(pt.Status, "", " ")
				t.Errorf("%s and %d others hold no working token: %s", m.object(), len(open)-1, status)
			}
			return
		}
	}
}

func (c *cast) settled(ctx context.Context, m member) bool {
	var pt v1alpha1.ProviderToken
	var target corev1.Secret
	if c.k8s.Get(ctx, m.key(), &pt) != nil {
		return false
	}
	issued := meta.FindStatusCondition(pt.Status.Conditions, v1alpha1.TokenIssuedCondition)
	if issued != nil && issued.Reason == v1alpha1.ReasonLoginFrozen {
		return true // judgeFreezes says whether it may
	}
	return c.k8s.Get(ctx, m.key(), &target) == nil && c.accepts(m, string(target.Data["token"])) &&
		meta.IsStatusConditionTrue(pt.Status.Conditions, v1alpha1.ReadyCondition) && issued != nil && issued.Status == metav1.ConditionTrue
}

// crowd does to members what people do to ProviderTokens and Secrets.
type crowd struct {
	*cast
	random *rand.Rand
	count  int
	away   map[int]time.Time // of members: since when
	scoped map[int]bool      // members whose scopes were edited
	done   map[kind]int
}

// run goes on until stop is closed, and brings back what is away then.
func (c *crowd) run(ctx context.Context, t *testing.T, stop <-chan struct{}) {
	t.Helper()
	tick := time.NewTicker(churnEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for i, since := range c.away {
				if time.Since(since) >= goneFor {
					c.bringBack(ctx, t, i)
				}
			}
			c.act(ctx, t)
		case <-stop:
			for i := range c.away {
				c.bringBack(ctx, t, i)
			}
			return
		}
	}
}

func (c *crowd) act(ctx context.Context, t *testing.T) {
	t.Helper()
	i := c.random.IntN(len(c.members))
	m := c.members[i]
	if _, gone := c.away[i]; gone {
		return
	}
	c.count++
	pt := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: m.name}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: m.name}}
	scopes := m.scopes()
	switch c.random.IntN(7) {
	case 0:
		if scopes == nil {
			return
		}
		text, _ := json.Marshal(scopes[c.random.IntN(len(scopes))])
		c.do(t, edited, m, "", func() error { return c.patch(ctx, pt, `{"spec":{"scopes":%s}}`, text) })
		c.scoped[i] = true
	case 1: // nothing that concerns the token
		c.do(t, "template edited", m, "", func() error {
			return c.patch(ctx, pt, `{"spec":{"target":{"template":{"metadata":{"labels":{"round":"n%d"}}}}}}`, c.count)
		})
	case 2:
		value := fmt.Sprint(c.count)
		c.do(t, requested, m, value, func() error {
			return c.patch(ctx, pt, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RefreshRequestedAtAnnotation, value)
		})
	case 3:
		c.do(t, targetRemoved, m, "", func() error { return client.IgnoreNotFound(c.k8s.Delete(ctx, secret)) })
	case 4:
		c.edit(ctx, t, m, secret)
	case 5: // what kubectl delete --cascade=orphan does
		c.do(t, removed, m, "", func() error { return c.k8s.Delete(ctx, pt) })
		c.away[i] = time.Now()
	case 6: // what kubectl delete and the garbage collector do
		c.do(t, removed, m, "", func() error { return c.k8s.Delete(ctx, pt) })
		c.do(t, targetRemoved, m, "", func() error { return client.IgnoreNotFound(c.k8s.Delete(ctx, secret)) })
		c.away[i] = time.Now()
	}
}

func (c *crowd) edit(ctx context.Context, t *testing.T, m member, secret *corev1.Secret) {
	t.Helper()
	d := deed{kind: targetEdited, object: m.object(), began: time.Now()}
	err := c.patch(ctx, secret, `{"stringData":{"token":"not a token"}}`)
	if client.IgnoreNotFound(err) != nil {
		t.Error(err)
	}
	if err == nil {
		d.done, d.revision = time.Now(), secret.ResourceVersion
		c.books.did(d)
		c.done[targetEdited]++
	}
}

func (c *crowd) bringBack(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	m := c.members[i]
	c.do(t, recreated, m, "", func() error { return c.k8s.Create(ctx, c.wish(m)) })
	if c.scoped[i] { // its scopes are again what they were before somebody edited them
		c.do(t, edited, m, "", func() error { return nil })
		delete(c.scoped, i)
	}
	delete(c.away, i)
}

func (c *crowd) patch(ctx context.Context, o client.Object, format string, args ...any) error {
	return c.k8s.Patch(ctx, o, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, format, args...)))
}

// do does something, and books it.
func (c *crowd) do(t *testing.T, what kind, m member, value string, act func() error) {
	t.Helper()
	d := deed{kind: what, object: m.object(), began: time.Now(), value: value}
	if err := act(); err != nil {
		t.Errorf("%s, %s: %v", m.object(), what, err)
		return
	}
	d.done = time.Now()
	c.books.did(d)
	c.done[what]++
}

// loadTrial kills the operator at any instant while many tokens are refreshed and
// people do what they do.
func loadTrial(t *testing.T, s *site, crashes int) {
	t.Helper()
	ctx := t.Context()
	began := time.Now()
	st := newStage(t, s, "load", "--leader-elect=false")
	namespaces := []string{"load-a", "load-b", "load-c"}
	for _, n := range namespaces {
		s.namespace(ctx, t, n)
	}
	o := st.observe(t, namespaces...)
	c := newCast(t, st, loadLifetime)
	for i := range loadTokens {
		c.add(ctx, t, namespaces[i%len(namespaces)], []string{byClient, byPassword, byProject, byLogin, byClient}[i%5])
	}
	p := st.start(t)
	c.settle(ctx, t)
	people := &crowd{cast: c, random: s.random(2), away: map[int]time.Time{}, scoped: map[int]bool{}, done: map[kind]int{}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		people.run(ctx, t, stop)
	}()
	random, covered, kills := s.random(1), tally{}, 0
	for kills < crashes && !t.Failed() {
		c.catchUp(t, p)
		at := c.killOnce(t, p, random)
		if at.step == "" {
			continue
		}
		covered.add(at.step, at.phase)
		kills++
		p = st.start(t)
	}
	close(stop)
	<-stopped
	c.settle(ctx, t)
	st.stopAll() // a token that is on its way now is on its way at the end of its process
	o.caughtUp(ctx, t)
	b := st.books.audit(time.Now())
	var text strings.Builder
	print := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	covered.print(&text, tokenPost, recordWrite, targetWrite, statusPatch, anyTime)
	print("kills                                           %6d", kills)
	print("ProviderTokens                                  %6d", len(c.members))
	for _, k := range []kind{edited, "template edited", requested, targetRemoved, targetEdited, removed, recreated} {
		print("  %-45s %6d", k, people.done[k])
	}
	st.report(t, b, print)
	print("logins frozen, since crashes lost their outcomes %6d", st.judgeFreezes(t))
	t.Logf("under load, %s\n%s", time.Since(began).Round(time.Second), text.String())
}

// catchUp waits until the operator has made up for the last kill: tokens that expire
// because it never runs for long would prove nothing.
func (c *cast) catchUp(t *testing.T, p *process) {
	t.Helper()
	patience, poll := time.After(settlePatience), time.NewTicker(50*time.Millisecond)
	defer poll.Stop()
	for c.books.least(time.Now()) < lifeLeft {
		select {
		case <-poll.C:
		case <-p.ended:
			return
		case <-patience:
			t.Logf("some target is not refreshed %s after a start", settlePatience)
			return
		}
	}
}

// tally of kills.
type tally map[step]map[phase]int

func (c tally) add(s step, p phase) {
	if c[s] == nil {
		c[s] = map[phase]int{}
	}
	c[s][p]++
}

func (c tally) print(b *strings.Builder, steps ...step) {
	fmt.Fprintf(b, "%-14s %8s %8s %8s %8s\n", "killed at", "before", "between", "after", "random")
	for _, s := range steps {
		fmt.Fprintf(b, "%-14s %8d %8d %8d %8d\n", s, c[s][before], c[s][between], c[s][after], c[s][whenever])
	}
}

// killOnce kills p by the next plan, and says where; nowhere when no such moment came.
func (c *cast) killOnce(t *testing.T, p *process, random *rand.Rand) moment {
	t.Helper()
	steps := []step{tokenPost, recordWrite, targetWrite, statusPatch, anyTime}
	at := moment{step: steps[random.IntN(len(steps))], phase: []phase{before, between, after}[random.IntN(3)]}
	skip := random.IntN(c.skip)
	delay := time.Duration(random.Int64N(int64(4 * time.Second)))
	if at.step == anyTime {
		at.phase = whenever
		return c.killLater(t, p, at, delay)
	}
	b := &blow{
		when: func(m moment) bool {
			if m.process != p.id || m.step != at.step || m.phase != at.phase {
				return false
			}
			skip--
			return skip < 0 && !c.lastChance()
		},
		strike: func(moment) bool { c.kill(p); return false },
		struck: make(chan moment, 1),
	}
	c.arm(b)
	select {
	case m := <-b.struck:
		return m
	case <-p.ended:
		select {
		case m := <-b.struck:
			return m
		case <-time.After(time.Second):
		}
		c.endedByItself(t)
	case <-time.After(c.patience):
		if !c.disarm(b) {
			return <-b.struck
		}
		t.Logf("no request for a kill at %s, %s", at.step, at.phase)
	}
	return moment{}
}

// endedByItself is a failure, but for leaders: one that got no processor for ten
// seconds does not renew its lease in time.
func (c *cast) endedByItself(t *testing.T) {
	t.Helper()
	if !c.elects {
		t.Errorf("the operator ended by itself:\n%s", tail(c.log.Name()))
	}
}

func (c *cast) killLater(t *testing.T, p *process, at moment, delay time.Duration) moment {
	t.Helper()
	again := time.After(delay)
	for {
		select {
		case <-p.ended:
			c.endedByItself(t)
			return moment{}
		case <-again:
			c.mu.Lock()
			spared := c.lastChance()
			if !spared {
				c.kill(p)
			}
			c.mu.Unlock()
			if !spared {
				return at
			}
			again = time.After(10 * time.Millisecond)
		}
	}
}
