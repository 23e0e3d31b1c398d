//go:build crash

package crash

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
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
	// loginAttempts is how often a wrong password may be tried in a quarter of an hour,
	// and so in this test, or in each quarter of an hour of a long one.
	loginAttempts = 2
	// killsForEach account, of which the first two find a login under way.
	killsForEach = 4
)

// lockout is accounts with wrong passwords in the hands of an operator that crashes.
type lockout struct {
	*stage
	sim      *providersim.Simulator
	provider string
	// attempts on each account, as they arrived.
	attempts map[string][]time.Time
	accounts int
	covered  tally
	kills    int
}

// lockoutTrial kills the operator between sending a wrong password and recording what
// came of it, again and again, over ProviderTokens that are made again and Secrets that
// are copied. The provider locks an account at the third failure, or at two in a second.
func lockoutTrial(t *testing.T, s *site, kills int) {
	t.Helper()
	ctx := t.Context()
	st := newStage(t, s, "lockout", "--leader-elect=false")
	s.namespace(ctx, t, "lockout-a")
	sim, err := providersim.Start(providersim.Options{Lifetime: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	sim.UP42.SetLockout(providersim.Lockout{Failures: loginAttempts + 1, Wait: 24 * time.Hour})
	l := &lockout{stage: st, sim: sim, provider: "lockout-up42", attempts: map[string][]time.Time{}, covered: tally{}}
	gate := st.providerGate(t, source{
		url: sim.UP42.TokenURL(), sim: sim.CABundle(), life: time.Hour,
		who: func(_ *http.Request, form url.Values) (string, string) {
			name := form.Get("username")
			st.mu.Lock()
			defer st.mu.Unlock()
			l.attempts[name] = append(l.attempts[name], time.Now())
			return name, ""
		},
	})
	s.create(ctx, t, &v1alpha1.ClusterTokenProvider{
		ObjectMeta: metav1.ObjectMeta{Name: l.provider},
		Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{
			Base: providersim.UP42Name, TokenURL: gate.url, CABundle: gate.caBundle, Limits: &v1alpha1.Limits{Concurrency: 8, PerSecond: 100},
		}},
	})
	random := s.random(5)
	p := st.start(t)
	for l.kills < kills && !t.Failed() {
		l.accounts++
		account := fmt.Sprintf("account-%03d", l.accounts)
		for n := range killsForEach {
			at := moment{step: tokenPost, phase: []phase{before, between, after}[random.IntN(3)]}
			if random.IntN(4) == 0 {
				at = moment{step: recordWrite, phase: []phase{between, after}[random.IntN(2)]}
			}
			b := l.plan(p, at, n >= loginAttempts)
			if n == 0 {
				l.open(ctx, t, account)
			}
			if !l.await(t, p, b, account) {
				break
			}
			l.copyOrAgain(ctx, t, account, n)
			p = st.start(t)
		}
		if !t.Failed() {
			l.frozen(ctx, t, account)
		}
	}
	l.judge(t)
}

// open makes an account, and two ProviderTokens with the same wrong password for it.
func (l *lockout) open(ctx context.Context, t *testing.T, account string) {
	t.Helper()
	l.sim.UP42.SetLogin(account, "what the operator does not know")
	l.create(ctx, t, l.secret(account+"-login", account), l.wish(account, account+"-login"), l.wish(account+"-too", account+"-login"))
}

func (l *lockout) secret(name, account string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lockout-a", Name: name, Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + l.provider}},
		StringData: map[string]string{"username": account, "password": "wrong"},
	}
}

func (l *lockout) wish(name, secret string) *v1alpha1.ProviderToken {
	return &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lockout-a", Name: name, Labels: map[string]string{shardLabel: l.name}},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: l.provider},
			Credentials: &v1alpha1.Credentials{SecretName: secret},
		},
	}
}

// plan of a kill of p at a moment of a login; or at any login, where there may be none any more.
func (l *lockout) plan(p *process, at moment, over bool) *blow {
	b := &blow{
		when: func(m moment) bool {
			return m.process == p.id && (m.step == at.step && m.phase == at.phase || over && m.step == tokenPost)
		},
		strike: func(moment) bool { l.kill(p); return false },
		struck: make(chan moment, 1),
	}
	l.arm(b)
	return b
}

// await waits until p is killed by plan, or kills it once it has said that no login is
// tried. False when it does neither.
func (l *lockout) await(t *testing.T, p *process, b *blow, account string) bool {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	patience := time.After(settlePatience)
	for {
		select {
		case m := <-b.struck:
			l.count(m)
			return true
		case <-poll.C:
			if !l.says(t, account, v1alpha1.ReasonLoginFrozen) {
				continue
			}
			if !l.disarm(b) {
				l.count(<-b.struck)
				return true
			}
			l.kill(p)
			l.count(moment{step: anyTime, phase: whenever})
			return true
		case <-patience:
			if l.disarm(b) {
				t.Errorf("%s: neither is a login tried nor is it said why not: %s", account, l.statuses(t))
				return false
			}
		}
	}
}

func (l *lockout) count(m moment) {
	l.kills++
	l.covered.add(m.step, m.phase)
}

// says tells whether the ProviderTokens of an account have a reason for no token.
func (l *lockout) says(t *testing.T, account, reason string) bool {
	t.Helper()
	for _, name := range []string{account, account + "-too"} {
		var pt v1alpha1.ProviderToken
		if err := l.k8s.Get(t.Context(), client.ObjectKey{Namespace: "lockout-a", Name: name}, &pt); err != nil {
			t.Error(err)
			return false
		}
		issued := meta.FindStatusCondition(pt.Status.Conditions, v1alpha1.TokenIssuedCondition)
		if issued == nil || issued.Status != metav1.ConditionFalse || issued.Reason != reason && issued.Reason != v1alpha1.ReasonLoginDenied {
			return false
		}
	}
	return true
}

// statuses are those of all ProviderTokens, for people.
func (l *lockout) statuses(t *testing.T) string {
	t.Helper()
	var list v1alpha1.ProviderTokenList
	if err := l.k8s.List(t.Context(), &list, client.InNamespace("lockout-a")); err != nil {
		t.Error(err)
	}
	var b strings.Builder
	for i := range list.Items {
		for _, c := range list.Items[i].Status.Conditions {
			fmt.Fprintf(&b, "\n%s %s %s %s: %s", list.Items[i].Name, c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return b.String()
}

// copyOrAgain does between two crashes what makes others forget: the ProviderToken is
// made again, or uses a copy of the Secret, or an unrelated field is edited.
func (l *lockout) copyOrAgain(ctx context.Context, t *testing.T, account string, n int) {
	t.Helper()
	old := l.wish(account, account+"-login")
	switch n % 3 {
	case 0:
		if err := l.k8s.Delete(ctx, old); err != nil {
			t.Fatal(err)
		}
		l.create(ctx, t, l.wish(account, account+"-login"))
	case 1:
		l.create(ctx, t, l.secret(account+"-copy", account))
		if err := l.k8s.Patch(ctx, old, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"credentials":{"secretName":%q}}}`, account+"-copy"))); err != nil {
			t.Fatal(err)
		}
	case 2:
		if err := l.k8s.Patch(ctx, old, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"scopes":["email"]}}`))); err != nil {
			t.Fatal(err)
		}
	}
}

// frozen waits until the ProviderTokens of an account say so.
func (l *lockout) frozen(ctx context.Context, t *testing.T, account string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for !l.says(t, account, v1alpha1.ReasonLoginFrozen) {
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Errorf("%s: the login is not frozen: %s", account, l.statuses(t))
			return
		}
	}
}

func (l *lockout) judge(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var text strings.Builder
	print := printer(&text)
	l.covered.print(&text, tokenPost, recordWrite, anyTime)
	locked, most, all := 0, 0, 0
	for account, at := range l.attempts {
		n := mostWithin(at, loginWindow)
		most, all = max(most, n), all+len(at)
		if n > loginAttempts {
			t.Errorf("%s: %d logins with a wrong password within %s", account, n, loginWindow)
		}
		if l.sim.UP42.WasLocked(account) {
			locked++
			t.Errorf("%s was locked", account)
		}
	}
	print("kills                                           %6d", l.kills)
	print("accounts with a wrong password                  %6d", l.accounts)
	print("logins sent                                     %6d", all)
	print("most logins in a quarter of an hour             %6d", most)
	print("accounts locked                                 %6d", locked)
	for _, v := range l.complaints {
		t.Error(v)
	}
	t.Logf("killed with a wrong password on its way\n%s", text.String())
}
