//go:build crash

package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

const (
	// leaseDuration is what the operator is shipped with.
	leaseDuration = 15 * time.Second
	leaderTokens  = 40
	// leaderLifetime lets a token live for 30 s when it is due. A standby leads after the
	// lease, and looks every 0.5 to 1.1 s: within 17 s. The rest is for a machine that has
	// more to do.
	leaderLifetime = 90 * time.Second
	// takeoverPatience is for a machine that has more to do.
	takeoverPatience = 2 * leaseDuration
)

// pair is two operators with leader election, as they are shipped.
type pair struct {
	*cast
	random          *rand.Rand
	leader, standby *process
	takeovers       []time.Duration
}

func newPair(t *testing.T, s *site, name string, trial uint64) (*pair, *observer) {
	t.Helper()
	ctx := t.Context()
	st := newStage(t, s, name)
	s.namespace(ctx, t, name+"-a")
	o := st.observe(t, name+"-a")
	p := &pair{cast: newCast(t, st, leaderLifetime), random: s.random(trial)}
	p.skip, p.patience, p.elects = 8, leaderLifetime, true
	for i := range leaderTokens {
		p.add(ctx, t, name+"-a", []string{byClient, byPassword, byProject, byLogin, byClient}[i%5])
	}
	p.leader = st.start(t)
	p.awaitLeader(t, p.leader)
	p.standby = st.start(t)
	p.settle(ctx, t)
	return p, o
}

// awaitLeader waits until p leads.
func (p *pair) awaitLeader(t *testing.T, who *process) {
	t.Helper()
	patience := time.After(takeoverPatience)
	for {
		select {
		case id := <-p.leaderNews:
			if id == who.id {
				return
			}
		case <-patience:
			t.Fatalf("process %d does not lead after %s:\n%s", who.id, takeoverPatience, tail(p.log.Name()))
		}
	}
}

// takeover waits for the standby to lead, and gives it another standby.
func (p *pair) takeover(t *testing.T, since time.Time) {
	t.Helper()
	p.awaitLeader(t, p.standby)
	p.takeovers = append(p.takeovers, time.Since(since))
	p.leader = p.standby
	p.standby = p.start(t)
}

// tend starts again what ended by itself, as a kubelet does: a leader that got no
// processor for ten seconds loses its lease.
func (p *pair) tend(t *testing.T) {
	t.Helper()
	if !p.leader.alive() {
		t.Log("a leader lost its lease by itself")
		p.leader, p.standby = p.standby, p.start(t)
	}
	if !p.standby.alive() {
		p.standby = p.start(t)
	}
	if now := p.leading(); now == p.standby.id {
		p.leader, p.standby = p.standby, p.leader
	}
}

// leading is the process that wrote the lease last.
func (p *pair) leading() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stage.leader
}

// settle waits until all is well, and tends meanwhile.
func (p *pair) settle(ctx context.Context, t *testing.T) {
	t.Helper()
	p.cast.tend = func() { p.tend(t) }
	p.cast.settle(ctx, t)
}

// printTakeovers prints how they are distributed.
func (p *pair) printTakeovers(print func(string, ...any)) {
	slices.Sort(p.takeovers)
	n := len(p.takeovers)
	if n == 0 {
		return
	}
	at := func(percent int) float64 { return p.takeovers[min(n*percent/100, n-1)].Seconds() }
	print("takeovers                                       %6d", n)
	print("  seconds until the standby leads: least %.1f, median %.1f, 90 %% %.1f, most %.1f", at(0), at(50), at(90), at(100))
}

// printer collects lines.
func printer(b *strings.Builder) func(string, ...any) {
	return func(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }
}

// leaderTrial kills the leader, and looks at what its standby does. Every token lives
// longer than the lease when that happens, so none may expire.
func leaderTrial(t *testing.T, s *site, kills int) {
	t.Helper()
	ctx := t.Context()
	p, o := newPair(t, s, "leader", 3)
	covered := tally{}
	for n := 0; n < kills && !t.Failed(); {
		at := p.killOnce(t, p.leader, p.random)
		if at.step == "" {
			p.tend(t)
			continue
		}
		n++
		covered.add(at.step, at.phase)
		p.takeover(t, time.Now())
		p.settle(ctx, t)
	}
	p.stopAll() // a token that is on its way now is on its way at the end of its process
	o.caughtUp(ctx, t)
	var text strings.Builder
	print := printer(&text)
	covered.print(&text, tokenPost, recordWrite, targetWrite, statusPatch, anyTime)
	p.printTakeovers(print)
	p.report(t, p.books.audit(time.Now()), print)
	print("logins frozen, since crashes lost their outcomes %6d", p.judgeFreezes(t))
	t.Logf("leaders killed\n%s", text.String())
}

// suspension is where a leader is stopped, to wake up when it leads no more.
type suspension struct {
	name  string
	step  step
	phase phase
	// late keeps the request on its way until the leader wakes up.
	late bool
}

func suspensions() []suspension {
	return []suspension{
		{"the answer of a provider on its way", tokenPost, between, false},
		{"a write of a target on its way", targetWrite, before, true},
		{"a request to a provider on its way", tokenPost, before, true},
		{"the answer to a write of a target on its way", targetWrite, between, false},
		{"a report on its way", statusPatch, before, true},
	}
}

// pauseTrial stops the leader (SIGSTOP) in the middle of something, lets the standby
// take over and publish another token, and wakes the former leader up.
func pauseTrial(t *testing.T, s *site, pauses int) {
	t.Helper()
	ctx := t.Context()
	p, o := newPair(t, s, "pause", 4)
	covered := map[string]int{}
	for n := 0; n < pauses && !t.Failed(); n++ {
		p.tend(t)
		how := suspensions()[n%len(suspensions())]
		p.suspend(ctx, t, how)
		covered[how.name]++
		p.settle(ctx, t)
	}
	p.stopAll() // a token that is on its way now is on its way at the end of its process
	o.caughtUp(ctx, t)
	var text strings.Builder
	print := printer(&text)
	for _, how := range suspensions() {
		print("leaders stopped with %-46s %3d", how.name, covered[how.name])
	}
	p.printTakeovers(print)
	p.report(t, p.books.audit(time.Now()), print)
	t.Logf("leaders stopped, and woken up as former leaders\n%s", text.String())
}

func (p *pair) suspend(ctx context.Context, t *testing.T, how suspension) {
	t.Helper()
	former, skip := p.leader, p.random.IntN(8)
	stopped, release := make(chan moment, 1), make(chan struct{})
	b := &blow{
		when: func(m moment) bool {
			if m.process != former.id || m.step != how.step || m.phase != how.phase {
				return false
			}
			skip--
			return skip < 0 && !p.lastChance()
		},
		strike: func(m moment) bool {
			former.pause()
			p.books.ended(former.id, time.Now())
			stopped <- m
			if how.late {
				<-release
			}
			return true
		},
		struck: make(chan moment, 1),
	}
	p.arm(b)
	var m moment
	select {
	case m = <-stopped:
	case <-time.After(settlePatience):
		t.Fatalf("the leader did nothing that it could be stopped with: %s", how.name)
	}
	began := time.Now()
	p.takeover(t, began)
	p.renew(ctx, t, m.object)
	close(release)
	<-b.struck
	former.resume()
	select {
	case <-former.ended:
	case <-time.After(takeoverPatience):
		t.Errorf("process %d was stopped for %s, and does not notice that it leads no more", former.id, time.Since(began))
		p.kill(former)
	}
}

// renew lets the leader publish another token of an object, and waits for that.
func (p *pair) renew(ctx context.Context, t *testing.T, object string) {
	t.Helper()
	namespace, name, _ := strings.Cut(object, "/")
	value := fmt.Sprint(time.Now().UnixNano())
	d := deed{kind: requested, object: object, began: time.Now(), value: value}
	pt := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.RefreshRequestedAtAnnotation, value)
	if err := p.k8s.Patch(ctx, pt, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	d.done = time.Now()
	p.books.did(d)
	patience, poll := time.After(settlePatience), time.NewTicker(50*time.Millisecond)
	defer poll.Stop()
	for {
		if v, _, ok := p.books.latest(object); ok && v.handled == value {
			return
		}
		select {
		case <-poll.C:
		case <-patience:
			t.Errorf("the new leader does not publish another token of %s", object)
			return
		}
	}
}
