package providers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	dto "github.com/prometheus/client_model/go"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	testworld "github.com/providertoken/operator/test/world"
)

// phase of a token's life in which a provider fails.
type phase struct {
	name, title string
	// from and until when, counted from the first tokens on; until gets the planned refresh.
	from  time.Duration
	until func(refresh time.Duration) time.Duration
}

// All tokens are issued at the beginning, so all of them expire at the same second.
const (
	expiry     = lifetime
	nearExpiry = lifetime - 40*time.Second
	overExpiry = lifetime + time.Minute
)

var (
	first   = &phase{"first", "first token", 0, func(time.Duration) time.Duration { return time.Minute }}
	refresh = &phase{"refresh", "planned refresh", 100 * time.Second, func(at time.Duration) time.Duration { return at + 30*time.Second }}
	near    = &phase{"near", "until near expiry", 100 * time.Second, func(time.Duration) time.Duration { return nearExpiry }}
	over    = &phase{"over", "over the expiry", 100 * time.Second, func(time.Duration) time.Duration { return overExpiry }}
)

func phases() []*phase { return []*phase{first, refresh, near, over} }

// cell is one fault in one phase.
type cell struct {
	*endpoint
	phase *phase
	pt    *v1alpha1.ProviderToken

	start       time.Time
	from, until time.Duration // of the fault
	healed      bool
	old         string // the token from before; empty in the first phase
	oldStatus   v1alpha1.ProviderTokenStatus
	began       int // exchanges before the fault
	outage      int // exchanges during the fault
	recovered   time.Duration

	asserted int
	problems []string

	mu      sync.Mutex
	changes []string // tokens that the Secret held, in order
	states  []string // what was written to status
}

// must notes what is not as it should be; all is told at the end.
func (c *cell) must(ok bool, format string, args ...any) {
	c.asserted++
	if !ok {
		c.problems = append(c.problems, fmt.Sprintf(format, args...))
	}
}

// life is one world in which every cell lives through its fault, on one clock.
type life struct {
	*testworld.World
	exchanges *exchanges
	traffic   *traffic
	start     time.Time
	cells     []*cell
	byHost    map[string]*cell
	thief     *thief
}

// now is the time since the first tokens.
func (l *life) now() time.Duration { return l.Clock.Now().Sub(l.start) }

func newLife(ctx context.Context) *life {
	GinkgoHelper()
	l := &life{World: testworld.New(ctx, server), traffic: &traffic{}, byHost: map[string]*cell{}}
	l.Timeout = time.Minute // real time; on the fake clock it is the exchanges' patience
	l.start = l.Clock.Now()
	l.exchanges = &exchanges{clock: l.Clock.FakeClock, hangs: func(host string) bool {
		c := l.byHost[host]
		return c != nil && c.on.Load() && c.fault.hangs
	}}
	l.Around, l.Faults = l.exchanges.around, l.traffic.wrap
	shown, dns := newCertificates(), newNames()
	l.thief = newThief(shown)
	for _, f := range faults() {
		namespace := l.Namespace
		if f.hangs {
			// Its exchanges are under way all the time, and a namespace has a share only.
			namespace = l.NewNamespace(ctx, nil)
		}
		for _, p := range phases() {
			c := &cell{endpoint: newEndpoint(f, f.id+"-"+p.name, l.Clock.Now, shown, dns, l.thief), phase: p, start: l.start}
			c.pt = l.declare(ctx, c.endpoint, namespace)
			l.cells, l.byHost[c.host] = append(l.cells, c), c
		}
	}
	return l
}

// declare makes what a user needs for a token of this endpoint, but the ProviderToken itself.
func (l *life) declare(ctx context.Context, e *endpoint, namespace string) *v1alpha1.ProviderToken {
	GinkgoHelper()
	name := l.Cluster(e.name)
	p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ClusterTokenProviderSpec{
		ProviderDefinition: v1alpha1.ProviderDefinition{TokenURL: "https://" + e.host + "/token", CABundle: e.certificates.trusted.bundle},
	}}
	Expect(server.Client.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(server.Client.Delete(ctx, p)).To(Succeed()) })
	Expect(server.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: e.name + "-login", Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + name}},
		StringData: map[string]string{"client_id": e.clientID, "client_secret": e.clientSecret},
	})).To(Succeed())
	return &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: e.name},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: name},
			Credentials: &v1alpha1.Credentials{SecretName: e.name + "-login"},
		},
	}
}

// watch keeps every version of every object that the operator writes.
func (l *life) watch(ctx context.Context) {
	GinkgoHelper()
	watcher, err := client.NewWithWatch(server.Config, client.Options{Scheme: server.Scheme})
	Expect(err).NotTo(HaveOccurred())
	byName := map[client.ObjectKey]*cell{}
	for _, c := range l.cells {
		byName[client.ObjectKeyFromObject(c.pt)] = c
	}
	for _, list := range []client.ObjectList{&corev1.SecretList{}, &v1alpha1.ProviderTokenList{}} {
		events, err := watcher.Watch(ctx, list)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(events.Stop)
		go func() {
			for event := range events.ResultChan() {
				if o, is := event.Object.(client.Object); is && byName[client.ObjectKeyFromObject(o)] != nil {
					byName[client.ObjectKeyFromObject(o)].keep(o)
				}
			}
		}()
	}
}

func (c *cell) keep(o client.Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch o := o.(type) {
	case *corev1.Secret:
		if token := string(o.Data["token"]); len(c.changes) == 0 || c.changes[len(c.changes)-1] != token {
			c.changes = append(c.changes, token)
		}
	case *v1alpha1.ProviderToken:
		status, _ := json.Marshal(o.Status)
		c.states = append(c.states, string(status))
	}
}

// run lets the time pass until every cell has recovered.
func (l *life) run(ctx context.Context) {
	GinkgoHelper()
	l.turnFaults()
	l.Operator()
	l.watch(ctx)
	for _, c := range l.cells {
		Expect(server.Client.Create(ctx, c.pt)).To(Succeed())
	}
	l.begin(ctx)
	const longest = 30 * time.Minute
	for l.now() < longest && !l.over() {
		l.step(ctx)
	}
	l.last(ctx)
}

// begin waits for the first tokens of those that get one.
func (l *life) begin(ctx context.Context) {
	GinkgoHelper()
	for _, c := range l.cells {
		if c.phase == first {
			continue
		}
		c.oldStatus = l.Ready(ctx, c.pt).Status
		c.old = l.Token(ctx, c.pt)
		c.from, c.until = c.phase.from, c.phase.until(c.oldStatus.RefreshAt.Sub(l.start))
		c.must(c.oldStatus.Token.ExpiresAt.Sub(l.start) == expiry, "the first token expires at %s", c.oldStatus.Token.ExpiresAt)
	}
	settle(l.exchanges, l.traffic)
}

func (l *life) over() bool {
	return !slices.ContainsFunc(l.cells, func(c *cell) bool { return c.recovered == 0 })
}

// step moves the clock, and looks.
func (l *life) step(ctx context.Context) {
	l.turnFaults()                   // while nothing is under way that could see both
	l.Clock.FakeClock.Step(l.size()) // it has settled
	if l.now() == expiry {
		l.expire(ctx)
	}
	settle(l.exchanges, l.traffic)
	for _, c := range l.cells {
		switch {
		case l.now() == c.until-time.Second, c.phase == over && l.now() == expiry-time.Second:
			l.during(ctx, c)
		case c.healed && c.recovered == 0:
			l.after(ctx, c)
		}
	}
}

// size of the next step: a second, but where little happens.
func (l *life) size() time.Duration {
	const quietFrom, quietUntil = 75 * time.Second, 145 * time.Second // before any planned refresh
	switch now := l.now(); {
	case now >= 2*overExpiry:
		return 20 * time.Second
	case now > overExpiry, now >= quietFrom && now < quietUntil:
		return 5 * time.Second
	}
	return time.Second
}

// turnFaults turns faults on and off whose time has come.
func (l *life) turnFaults() {
	for _, c := range l.cells {
		if c.until == 0 {
			c.until = c.phase.until(0)
		}
		switch at := l.now(); {
		case !c.healed && at >= c.until:
			began, _ := l.exchanges.of(c.host)
			c.outage, c.healed = began-c.began, true
			c.heal()
		case !c.healed && !c.on.Load() && at >= c.from && (c.phase == first || at > 0):
			c.began, _ = l.exchanges.of(c.host)
			c.fail()
		}
	}
}

// expire looks at the second at which the tokens expire whose replacement does not come.
func (l *life) expire(ctx context.Context) {
	GinkgoHelper()
	for _, c := range l.cells {
		if c.phase == over {
			l.Becomes(ctx, c.pt, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonTokenExpired)
		}
	}
}

// during looks at a cell whose provider fails, in the last second of that or of the token.
func (l *life) during(ctx context.Context, c *cell) {
	GinkgoHelper()
	var pt v1alpha1.ProviderToken
	Expect(server.Client.Get(ctx, client.ObjectKeyFromObject(c.pt), &pt)).To(Succeed())
	says := map[string]metav1.Condition{}
	for _, condition := range pt.Status.Conditions {
		says[condition.Type] = condition
	}
	live := c.phase != first && l.now() < expiry
	want := fmt.Sprintf("%s at %s: %s", l.Cluster(c.name), c.host, c.fault.message(c.endpoint))
	if live {
		want += "; the token in the Secret works until " + l.start.Add(expiry).Format(time.RFC3339)
	}
	issued := says[v1alpha1.TokenIssuedCondition]
	c.must(issued.Status == metav1.ConditionFalse && issued.Reason == c.fault.reason, "at %s TokenIssued is %s/%s, want False/%s", l.now(), issued.Status, issued.Reason, c.fault.reason)
	c.must(issued.Message == want, "at %s TokenIssued says\n\t%s\nwant\n\t%s", l.now(), issued.Message, want)
	c.must(pt.Status.Failure != nil && pt.Status.Failure.Reason == c.fault.reason, "at %s status.failure is %v", l.now(), pt.Status.Failure)
	l.readiness(c, says, live, want)
	l.meters(c, live)
	token := l.Token(ctx, c.pt)
	c.must(token == c.old, "at %s the Secret holds another token", l.now())
	if live {
		c.must(c.accepts(token, l.Clock.Now()), "at %s the provider does not take the token any more", l.now())
	}
}

// readiness is what Ready and kstatus' conditions say while the provider fails.
func (l *life) readiness(c *cell, says map[string]metav1.Condition, live bool, message string) {
	ready := says[v1alpha1.ReadyCondition]
	_, stalled := says[v1alpha1.StalledCondition]
	_, reconciling := says[v1alpha1.ReconcilingCondition]
	if live {
		before := meta.FindStatusCondition(c.oldStatus.Conditions, v1alpha1.ReadyCondition)
		c.must(ready.Status == metav1.ConditionTrue && ready.LastTransitionTime.Equal(&before.LastTransitionTime), "at %s Ready is %v", l.now(), ready)
		c.must(!stalled && !reconciling, "at %s, with a token that works: Stalled %v, Reconciling %v", l.now(), stalled, reconciling)
		return
	}
	stuck := c.fault.outcome == misconfigured || c.fault.outcome == denied
	c.must(stalled == stuck && reconciling == !stuck, "at %s, without a token: Stalled %v, Reconciling %v", l.now(), stalled, reconciling)
	if c.phase == first {
		c.must(ready.Status == metav1.ConditionFalse && ready.Reason == c.fault.reason && ready.Message == message, "at %s Ready is %v", l.now(), ready)
		return
	}
	want := fmt.Sprintf("the token in Secret %q expired at %s: %s", c.name, l.start.Add(expiry).Format(time.RFC3339), message)
	c.must(ready.Status == metav1.ConditionFalse && ready.Reason == v1alpha1.ReasonTokenExpired && ready.Message == want, "at %s Ready is %v", l.now(), ready)
	c.must(ready.LastTransitionTime.Sub(l.start) == expiry, "Ready became false at %s, the token expired at %s", ready.LastTransitionTime.Sub(l.start), expiry)
}

// meters is what the metrics say while the provider fails.
func (l *life) meters(c *cell, live bool) {
	families, err := l.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	began, ended := l.exchanges.of(c.host)
	failures := value(families, "providertoken_exchanges_total", l.Cluster(c.name), c.fault.outcome)
	c.must(began > c.began, "at %s nothing was tried", l.now())
	c.must(failures == float64(ended-c.began), "at %s the metrics count %v failures as %s, there were %d", l.now(), failures, c.fault.outcome, ended-c.began)
	is := 0.0
	if live {
		is = 1
	}
	c.must(value(families, "providertoken_ready", c.pt.Namespace, c.name) == is, "at %s providertoken_ready is not %v", l.now(), is)
	due := value(families, "providertoken_token_refresh_timestamp_seconds", c.pt.Namespace, c.name)
	if c.phase == first {
		c.must(due == -1, "a refresh is planned of no token")
		return
	}
	c.must(due > 0 && due <= float64(l.Clock.Now().Unix()), "at %s the refresh is not overdue", l.now())
	c.must(value(families, "providertoken_token_expiry_timestamp_seconds", c.pt.Namespace, c.name) == float64(l.start.Add(expiry).Unix()), "the expiry is not that of the token")
}

// value of the one series with these labels, in any order; -1 when there is none.
func value(families []*dto.MetricFamily, name string, labels ...string) float64 {
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var has []string
			for _, label := range m.GetLabel() {
				has = append(has, label.GetValue())
			}
			if slices.Equal(slices.Sorted(slices.Values(has)), slices.Sorted(slices.Values(labels))) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

// after looks whether a cell has a new token.
func (l *life) after(ctx context.Context, c *cell) {
	s := l.Secret(ctx, c.pt)
	if s == nil || string(s.Data["token"]) == c.old {
		return
	}
	at, err := time.Parse(time.RFC3339, s.Annotations[v1alpha1.IssuedAtAnnotation])
	c.must(err == nil && c.accepts(string(s.Data["token"]), l.Clock.Now()), "the new token does not work")
	c.recovered = max(at.Sub(l.start), c.until)
}

// last looks at what there is to see when all is over.
func (l *life) last(ctx context.Context) {
	GinkgoHelper()
	happened := l.events(ctx)
	for _, c := range l.cells {
		if c.recovered == 0 {
			c.must(false, "it has not recovered at %s", l.now())
			continue
		}
		l.recovery(c)
		l.custody(c)
		l.told(c, happened[c.name])
	}
	l.secrecy(happened)
}

// recovery is prompt, and the outage was not a storm.
func (l *life) recovery(c *cell) {
	within, most := c.bounds()
	c.must(c.recovered-c.until <= within, "it recovered %s after the fault ended, want %s at most", c.recovered-c.until, within)
	c.must(c.outage <= most, "%d exchanges during the fault, want %d at most", c.outage, most)
	if c.phase == refresh || c.phase == near {
		c.must(c.recovered < expiry, "the old token expired %s before there was another", c.recovered-expiry)
	}
	arrived, _, _ := c.counts()
	c.must(arrived <= c.outage, "%d requests arrived of %d exchanges", arrived, c.outage)
	c.must(!c.fault.unseen || arrived == 0, "%d requests got through", arrived)
}

// custody: tokens and credentials are where they belong.
func (l *life) custody(c *cell) {
	_, strange, wire := c.counts()
	c.must(len(strange) == 0, "requests that are none of this endpoint's: %q", strange)
	c.must(!strings.Contains(wire, "CREDENTIAL") && !strings.Contains(wire, c.clientID), "the credential went in the clear")
	c.must(l.thief.visits.Load() == 0, "somebody else was asked %d times", l.thief.visits.Load())
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, token := range c.changes {
		c.must(slices.Contains(c.order, token) && !slices.Contains(c.changes[:i], token), "the Secret held %d tokens, number %d not one of this provider's", len(c.changes), i)
	}
	c.must(c.phase == first || c.changes[0] == c.old, "the Secret held another token first")
}

// told: one event for each transition, none for a retry.
func (l *life) told(c *cell, events []string) {
	want := []string{"Warning " + c.fault.reason, "Normal Ready"}
	switch c.phase {
	case refresh, near:
		want = []string{"Normal Ready", "Warning " + c.fault.reason}
	case over:
		want = []string{"Normal Ready", "Warning " + c.fault.reason, "Warning TokenExpired", "Normal Ready"}
	}
	slices.Sort(want)
	slices.Sort(events)
	c.must(slices.Equal(events, want), "the events are %q, want %q", events, want)
}

// events by name of the ProviderToken, each as often as it happened.
func (l *life) events(ctx context.Context) map[string][]string {
	GinkgoHelper()
	byName := map[string][]string{}
	for _, namespace := range l.Served() {
		var list eventsv1.EventList
		Expect(server.Client.List(ctx, &list, client.InNamespace(namespace))).To(Succeed())
		for i := range list.Items {
			e := &list.Items[i]
			times := 1
			if e.Series != nil {
				times = int(e.Series.Count)
			}
			for range times {
				byName[e.Regarding.Name] = append(byName[e.Regarding.Name], e.Type+" "+e.Reason)
			}
			if c := l.cell(e.Regarding.Name); c != nil {
				c.mu.Lock()
				c.states = append(c.states, e.Note)
				c.mu.Unlock()
			}
		}
	}
	return byName
}

func (l *life) cell(name string) *cell {
	i := slices.IndexFunc(l.cells, func(c *cell) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return l.cells[i]
}

// secrecy: nothing that a provider said, and nothing secret, is anywhere to be seen.
func (l *life) secrecy(map[string][]string) {
	GinkgoHelper()
	families, err := l.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	var metrics strings.Builder
	for _, f := range families {
		metrics.WriteString(f.String())
	}
	for _, c := range l.cells {
		c.mu.Lock()
		everything := strings.Join(c.states, "\n") + metrics.String()
		c.mu.Unlock()
		for _, word := range []string{said, "CREDENTIAL-", "TOKEN-"} {
			c.must(!strings.Contains(everything, word), "%q is to be seen", word)
		}
	}
}
