//go:build crash

package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

const (
	// lifetime of access tokens: long enough that one replay comes before the end of one.
	lifetime  = 30 * time.Second
	namespace = "default"
	shard     = "rotation"
	// accounts that last for the whole test; more come and go.
	accounts = 24
	// killsInSeries is how often the operator is killed before everything is looked at.
	killsInSeries = 40
	// patience for one kill, and for everything to settle afterwards: the longest
	// exchange, what is added to it, and another one.
	killPatience   = 20 * time.Second
	settlePatience = 2 * time.Minute
)

// account is one ProviderToken with a refresh token of its own.
type account struct {
	name   string
	kind   string
	server authorizationServer
}

func (a account) secret() string { return a.name + "-login" }

type trial struct {
	*harness
	servers  map[string]authorizationServer
	random   *rand.Rand
	all      []account
	made     int
	requests int

	covered          map[step]map[phase]int
	kills            int
	reauthorizations map[string]int
	unexplained      []string
	lost             []string
}

// TestNoCrash runs all trials beside each other, each with its share of CRASHES. A trial
// alone is TestNoCrash/ and its name.
func TestNoCrash(t *testing.T) {
	crashes, err := strconv.Atoi(fromEnv("CRASHES", "300"))
	if err != nil {
		t.Fatal("CRASHES: ", err)
	}
	s := newSite(t)
	// Two in a hundred are a leader's: each of them takes the time of a lease.
	share := func(percent, least int) int { return max((crashes*percent+50)/100, least) }
	for name, run := range map[string]func(*testing.T){
		"losesARefreshTokenUnnoticed": func(t *testing.T) { rotationTrial(t, s, share(30, 1)) },
		"losesATokenUnderLoad":        func(t *testing.T) { loadTrial(t, s, share(30, 1)) },
		"letsTwoLeadersMint":          func(t *testing.T) { leaderTrial(t, s, share(2, 2)) },
		"letsAFormerLeaderWrite":      func(t *testing.T) { pauseTrial(t, s, share(2, 2)) },
		"locksAnAccount":              func(t *testing.T) { lockoutTrial(t, s, share(36, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
}

func rotationTrial(t *testing.T, s *site, crashes int) {
	t.Helper()
	began := time.Now()
	ctx := t.Context()
	x := newTrial(ctx, t, s)
	for range accounts {
		x.open(ctx, t)
	}
	x.start(t)
	x.settle(ctx, t)
	for x.kills < crashes && !t.Failed() {
		for range min(killsInSeries, crashes-x.kills) {
			x.crash(ctx, t)
		}
		x.settle(ctx, t)
		if t.Failed() {
			break
		}
		x.retire(ctx, t)
		t.Logf("%d kills after %s", x.kills, time.Since(began).Round(time.Second))
	}
	x.stop()
	x.leaks(ctx, t)
	x.report(t)
}

func fromEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func newTrial(ctx context.Context, t *testing.T, s *site) *trial {
	t.Helper()
	ory, err := newFositeServer(lifetime)
	if err != nil {
		t.Fatal(err)
	}
	keycloak, err := newKeycloakServer(lifetime)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keycloak.sim.Close)
	dir := t.TempDir()
	x := &trial{
		harness:          &harness{site: s, books: newLedger(), logs: filepath.Join(dir, "operator.log"), killed: make(chan plan, 1)},
		servers:          map[string]authorizationServer{"fosite": ory, "keycloak": keycloak},
		random:           s.random(0),
		covered:          map[step]map[phase]int{},
		reauthorizations: map[string]int{},
	}
	for kind, server := range x.servers {
		at := x.providerFront(t, server)
		p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: kind}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{
			TokenURL: at.url, Grant: "RefreshToken", ClientAuthentication: "None", ClientID: server.ClientID(), CABundle: at.caBundle,
			Limits: &v1alpha1.Limits{Concurrency: 8, PerSecond: 100},
		}}}
		if err := s.k8s.Create(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	path := kubeconfig(t, filepath.Join(dir, "kubeconfig"), x.apiFront(t, s.cfg).url)
	x.command = []string{
		"--kubeconfig=" + path, "--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address=0",
		"--allow-networks=127.0.0.0/8", "--operator-namespace=" + namespace, "--watch-label-selector=" + shardLabel + "=" + shard,
	}
	t.Cleanup(x.stop) // before the fronts close, which wait for its requests
	return x
}

// open makes an account, as a person and a ProviderToken.
func (x *trial) open(ctx context.Context, t *testing.T) {
	t.Helper()
	kind := []string{"fosite", "keycloak"}[x.made%2]
	a := account{name: fmt.Sprintf("account-%03d", x.made), kind: kind, server: x.servers[kind]}
	x.made++
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: a.secret(), Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + kind}},
		StringData: map[string]string{"refresh_token": x.authorize(ctx, t, a)},
	}
	pt := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: a.name, Labels: map[string]string{shardLabel: shard}}, Spec: v1alpha1.ProviderTokenSpec{
		ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: kind},
		Credentials: &v1alpha1.Credentials{SecretName: a.secret()},
		Target:      &v1alpha1.Target{SecretName: a.name + "-token"},
		Refresh: &v1alpha1.RefreshPolicy{
			AtPercent: 40, MinimumLead: &metav1.Duration{Duration: 5 * time.Second}, MinimumInterval: &metav1.Duration{Duration: time.Second},
		},
	}}
	for _, o := range []client.Object{s, pt} {
		if err := x.k8s.Create(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	x.all = append(x.all, a)
}

func (x *trial) authorize(ctx context.Context, t *testing.T, a account) string {
	t.Helper()
	refresh, err := a.server.Authorize(ctx)
	if err != nil {
		t.Fatal(err)
	}
	x.books.authorized(refresh)
	return refresh
}

// crash kills the operator once, by the next plan, and starts it again.
func (x *trial) crash(ctx context.Context, t *testing.T) {
	t.Helper()
	p := draw(x.random)
	x.arm(p)
	deadline := time.After(killPatience)
	again := time.NewTicker(2 * time.Second)
	defer again.Stop()
	x.nudge(ctx, t, p)
	for {
		select {
		case done := <-x.killed:
			x.count(done)
			x.start(t)
			return
		case <-again.C:
			if !x.alive() && !x.pending() {
				t.Fatalf("the operator ended by itself:\n%s", tail(x.logs))
			}
			x.nudge(ctx, t, p)
		case <-deadline:
			if x.giveUp() {
				t.Logf("no request for the plan %+v", p)
				return
			}
		}
	}
}

// pending tells whether a kill is about to be told.
func (x *trial) pending() bool { return len(x.killed) > 0 }

func (x *trial) count(p plan) {
	if x.covered[p.step] == nil {
		x.covered[p.step] = map[phase]int{}
	}
	x.covered[p.step][p.phase]++
	x.kills++
}

// nudge makes work: some accounts want a refresh, or a new one comes.
func (x *trial) nudge(ctx context.Context, t *testing.T, p plan) {
	t.Helper()
	if p.step == stateCreate {
		x.open(ctx, t)
		return
	}
	for range 4 {
		a := x.all[x.random.IntN(len(x.all))]
		x.requests++
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.RefreshRequestedAtAnnotation, x.requests)
		pt := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: a.name}}
		if err := x.k8s.Patch(ctx, pt, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			t.Fatal(err)
		}
	}
}

// settle waits until every account holds a working token, after a person did what
// the ProviderToken asked for.
func (x *trial) settle(ctx context.Context, t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	open := slices.Clone(x.all)
	helped := map[string]bool{}
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for len(open) > 0 {
		open = slices.DeleteFunc(open, func(a account) bool { return x.settled(ctx, t, a, helped) })
		select {
		case <-poll.C:
		case <-ctx.Done():
			for _, a := range open {
				x.lost = append(x.lost, a.name)
				var pt v1alpha1.ProviderToken
				_ = x.k8s.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: a.name}, &pt)
				status, _ := json.MarshalIndent(pt.Status, "", " ")
				t.Errorf("%s neither holds a working token nor says what to do: %s", a.name, status)
			}
			t.Log(tail(x.logs))
			return // the books may say why
		}
	}
}

func (x *trial) settled(ctx context.Context, t *testing.T, a account, helped map[string]bool) bool {
	t.Helper()
	var pt v1alpha1.ProviderToken
	if err := x.k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: a.name}, &pt); err != nil {
		return false
	}
	issued := meta.FindStatusCondition(pt.Status.Conditions, v1alpha1.TokenIssuedCondition)
	if issued == nil {
		return false
	}
	if issued.Status == metav1.ConditionFalse && issued.Reason == v1alpha1.ReasonReauthorizationRequired {
		if !helped[a.name] {
			helped[a.name] = true
			x.help(ctx, t, a, issued.Message)
		}
		return false
	}
	var target, state corev1.Secret
	if x.k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: a.name + "-token"}, &target) != nil ||
		x.k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: a.secret() + stateSuffix}, &state) != nil {
		return false
	}
	return meta.IsStatusConditionTrue(pt.Status.Conditions, v1alpha1.ReadyCondition) && issued.Status == metav1.ConditionTrue &&
		recorded(&state) == nil && x.books.unused(string(state.Data["refresh_token"])) &&
		a.server.Accepts(ctx, string(target.Data["token"]))
}

// help does what the condition says: a person puts a new refresh token where it says.
func (x *trial) help(ctx context.Context, t *testing.T, a account, message string) {
	t.Helper()
	if !strings.Contains(message, a.secret()) || !strings.Contains(message, "refresh_token") || !strings.Contains(message, "new refresh token") {
		t.Errorf("%s does not say what to do: %s", a.name, message)
	}
	var s, state corev1.Secret
	if err := x.k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: a.secret()}, &s); err != nil {
		t.Fatal(err)
	}
	if err := x.k8s.Get(ctx, client.ObjectKey{Namespace: namespace, Name: a.secret() + stateSuffix}, &state); err != nil {
		t.Fatal(err)
	}
	if why := x.books.explain(string(state.Data["refresh_token"]), recorded(&state)); why != "" {
		x.reauthorizations[why]++
	} else {
		x.unexplained = append(x.unexplained, a.name+": "+message)
	}
	s.Data = map[string][]byte{"refresh_token": []byte(x.authorize(ctx, t, a))}
	if err := x.k8s.Update(ctx, &s); err != nil {
		t.Fatal(err)
	}
}

// retire deletes the accounts that came on top, to keep the work the same.
func (x *trial) retire(ctx context.Context, t *testing.T) {
	t.Helper()
	for _, a := range x.all[accounts:] {
		if err := x.k8s.Delete(ctx, &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: a.name}}); err != nil {
			t.Fatal(err)
		}
	}
	x.all = x.all[:accounts]
}

// leaks looks for refresh tokens where they have no business.
func (x *trial) leaks(ctx context.Context, t *testing.T) {
	t.Helper()
	log, err := os.ReadFile(x.logs)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string]string{"the log": string(log)}
	var secrets corev1.SecretList
	var tokens v1alpha1.ProviderTokenList
	var events eventsv1.EventList
	for _, list := range []client.ObjectList{&secrets, &tokens, &events} {
		if err := x.k8s.List(ctx, list, client.InNamespace(namespace)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range secrets.Items {
		s := &secrets.Items[i]
		if strings.HasSuffix(s.Name, stateSuffix) || strings.HasSuffix(s.Name, "-login") {
			continue
		}
		for _, v := range s.Data {
			places["targets"] += string(v) + "\n"
		}
		places["targets"] += fmt.Sprint(s.ObjectMeta)
	}
	for what, v := range map[string]any{"ProviderTokens": tokens, "events": events} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		places[what] = string(data)
	}
	for _, secret := range x.books.secrets() {
		for where, text := range places {
			if strings.Contains(text, secret) {
				t.Errorf("%s hold a refresh token", where)
			}
		}
	}
}

// report prints the figures, and fails where one must be zero.
func (x *trial) report(t *testing.T) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-14s %8s %8s %8s %8s\n", "killed at", "before", "between", "after", "random")
	for _, s := range []step{stateCreate, intentPut, tokenPost, statePut, targetWrite, statusPatch, anyTime} {
		c := x.covered[s]
		fmt.Fprintf(&b, "%-14s %8d %8d %8d %8d\n", s, c[before], c[between], c[after], c[whenever])
	}
	violations := x.books.found()
	fmt.Fprintf(&b, "\nkills                                           %6d\n", x.kills)
	fmt.Fprintf(&b, "ProviderTokens                                  %6d\n", x.made)
	fmt.Fprintf(&b, "refresh tokens rotated                          %6d\n", x.books.rotations)
	fmt.Fprintf(&b, "tokens lost unnoticed                           %6d\n", len(x.lost))
	fmt.Fprintf(&b, "violations of the protocol                      %6d\n", len(violations))
	fmt.Fprintf(&b, "replays that the server saw as such             %6d\n", x.books.replays)
	fmt.Fprintf(&b, "replays whose first use never arrived           %6d\n", x.books.unseen)
	fmt.Fprintf(&b, "families revoked (all by recorded replays)      %6d\n", x.books.revocations)
	for why, n := range x.reauthorizations {
		fmt.Fprintf(&b, "reauthorizations: %-30s%6d\n", why, n)
	}
	fmt.Fprintf(&b, "reauthorizations without a reason               %6d\n", len(x.unexplained))
	t.Log(b.String())
	for _, v := range violations {
		t.Error(v)
	}
	for _, v := range append(x.unexplained, x.complaints...) {
		t.Error(v)
	}
}

func tail(path string) string {
	data, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
