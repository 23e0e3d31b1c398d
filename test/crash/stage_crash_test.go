//go:build crash

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

// Steps beside those of a rotation.
const (
	recordWrite step = "login record"
	leaseWrite  step = "lease"
)

// moment is where a request of an operator is.
type moment struct {
	process int
	step    step
	phase   phase
	object  string
}

// blow is what is to happen to an operator, and when.
type blow struct {
	// when tells whether the moment has come.
	when func(moment) bool
	// strike is done then, while the request stands still. False lets the request go no further.
	strike func(moment) bool
	// struck says when it is done.
	struck chan moment
}

// stage is where operators of one trial run: between them and the API server, and
// between them and providers, every request is seen, and can be their last.
type stage struct {
	*site
	name  string
	books *chronicle
	flags []string
	dir   string
	log   *os.File
	api   string

	mu         sync.Mutex
	processes  map[int]*process
	made       int
	armed      *blow
	leader     int
	leaderNews chan int
	complaints []string
	records    map[string][]record
}

// record is what an operator wrote about the logins with one credential.
type record struct {
	process int
	Tries   []time.Time `json:"tries"`
	Frozen  time.Time   `json:"frozen"`
	Worked  bool        `json:"worked"`
	// Tracked is true when logins that follow are written down in Sent.
	Tracked bool              `json:"tracked"`
	Sent    []json.RawMessage `json:"sent"`
}

// accounted tells that no login was under way when the process ended that wrote this.
func (r record) accounted() bool { return r.Worked && r.Tracked && len(r.Sent) == 0 }

// another is for how long an operator that has just started holds a login back, since
// the one before, or another shard, may still be about it.
const another = 30 * time.Second

func newStage(t *testing.T, s *site, name string, flags ...string) *stage {
	t.Helper()
	st := &stage{
		site: s, name: name, books: newChronicle(), flags: flags, dir: t.TempDir(), log: logFile(t),
		processes: map[int]*process{}, leaderNews: make(chan int, 1024), records: map[string][]record{},
	}
	st.namespace(t.Context(), t, name)
	st.api = st.apiGate(t)
	t.Cleanup(st.stopAll) // before the gates close, which wait for its requests
	return st
}

// start runs one more operator.
func (s *stage) start(t *testing.T) *process {
	t.Helper()
	s.mu.Lock()
	s.made++
	id := s.made
	s.mu.Unlock()
	path := kubeconfig(t, filepath.Join(s.dir, fmt.Sprintf("kubeconfig-%d", id)), fmt.Sprintf("%s/p%d", s.api, id))
	p := s.launch(t, id, s.log, append([]string{
		"--kubeconfig=" + path, "--metrics-bind-address=0", "--health-probe-bind-address=0", "--allow-networks=127.0.0.0/8",
		"--operator-namespace=" + s.name, "--watch-label-selector=" + shardLabel + "=" + s.name,
		fmt.Sprintf("--cluster-name=p%d", id), // in the User-Agent, by which providers' gates know it
	}, s.flags...))
	s.mu.Lock()
	s.processes[id] = p
	s.mu.Unlock()
	go func() {
		<-p.ended
		s.books.ended(p.id, time.Now()) // by itself, unless that is booked already
	}()
	return p
}

// kill ends a process, and books when.
func (s *stage) kill(p *process) {
	s.books.ended(p.id, time.Now())
	p.kill()
}

func (s *stage) stopAll() {
	s.mu.Lock()
	s.armed = nil
	all := s.processes
	s.mu.Unlock()
	for _, p := range all {
		if p.alive() {
			s.kill(p)
		}
	}
}

func (s *stage) process(id int) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.processes[id]
}

// arm plans a blow.
func (s *stage) arm(b *blow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = b
}

// disarm takes it back; false when it was struck already.
func (s *stage) disarm(b *blow) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.armed == b
	s.armed = nil
	return was
}

// passes tells whether a request may go on from m.
func (s *stage) passes(m moment) bool {
	s.mu.Lock()
	b := s.armed
	if b == nil || !b.when(m) {
		s.mu.Unlock()
		return true
	}
	s.armed = nil
	s.mu.Unlock()
	on := b.strike(m)
	b.struck <- m
	return on
}

// lastChance tells whether a living operator is about a login of which the last one
// was lost in a crash: if this one is, too, a freeze is what is promised. The caller
// holds mu.
func (s *stage) lastChance() bool {
	for _, all := range s.records {
		last := all[len(all)-1]
		if p := s.processes[last.process]; len(last.Tries) >= 2 && last.Frozen.IsZero() && p.alive() {
			return true
		}
	}
	return false
}

// judgeFreezes checks that nobody's login is frozen but where crashes lost what became
// of the two that there may be, and returns how many are.
func (s *stage) judgeFreezes(t *testing.T) int {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for name, all := range s.records {
		for i, rec := range all {
			if !rec.Frozen.IsZero() {
				t.Errorf("%s: a good login was taken for refused", name)
			}
			if len(rec.Tries) < 2 {
				continue
			}
			n++
			if i == 0 || all[i-1].process == rec.process || all[i-1].accounted() || !all[i-1].Worked && s.processes[all[i-1].process].alive() {
				t.Errorf("%s: a second attempt was written down, and the outcome of the first one was not lost", name)
			}
			if i+1 == len(all) && s.processes[rec.process].alive() {
				t.Errorf("%s: a living operator does not write down what became of a login", name)
			}
			if i+1 < len(all) {
				n-- // it went well
			}
		}
	}
	if frozen := s.books.frozen(another, time.Now()); n == 0 && len(frozen) > 0 {
		t.Errorf("no login may be frozen, and these are: %v", frozen)
	}
	return n
}

func (s *stage) complain(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complaints = append(s.complaints, fmt.Sprintf(format, args...))
}

// serve lets a request through, unless a blow falls.
func (s *stage) serve(w http.ResponseWriter, m moment, forward func(http.ResponseWriter)) {
	for _, phase := range []phase{before, between, after} {
		if m.phase = phase; phase == between {
			held := newRecording()
			forward(held)
			if !s.passes(m) {
				panic(http.ErrAbortHandler)
			}
			held.replay(w)
			continue
		}
		if !s.passes(m) {
			panic(http.ErrAbortHandler)
		}
	}
}

// source is a provider of a trial: where it is, and how its requests are read.
type source struct {
	url  string
	sim  string // PEM of its authority
	life time.Duration
	// who asks, by the credential in the request; refresh is the refresh token, if that is what it is.
	who func(r *http.Request, form url.Values) (name, refresh string)
}

var fromProcess = regexp.MustCompile(`\(p([0-9]+)\)`)

// providerGate is the TLS gate of a provider.
func (s *stage) providerGate(t *testing.T, src source) front {
	t.Helper()
	proxy, err := simProxy(src.url, src.sim)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	refreshes := map[string]string{} // the name to which a refresh token was given
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent := time.Now()
		found := fromProcess.FindStringSubmatch(r.UserAgent())
		body, err := readAll(r)
		if err != nil || found == nil {
			panic(http.ErrAbortHandler)
		}
		id, _ := strconv.Atoi(found[1])
		form, _ := url.ParseQuery(string(body))
		name, refresh := src.who(r, form)
		if refresh != "" {
			mu.Lock()
			name = refreshes[refresh]
			mu.Unlock()
		}
		if name == "" {
			s.complain("process %d sent a request that nobody's credential is in", id)
		}
		m := moment{process: id, step: tokenPost, object: name}
		s.serve(w, m, func(w http.ResponseWriter) {
			judged := time.Now()
			held := newRecording()
			// What has arrived is judged, whoever waits for it.
			proxy.ServeHTTP(held, r.WithContext(context.WithoutCancel(r.Context())))
			a := readAnswer(held.body)
			if a.token != "" {
				expires := judged.Add(src.life)
				if a.expiresAt != 0 {
					expires = time.Unix(a.expiresAt, 0)
				}
				s.books.minted(mint{object: name, process: id, sent: sent, answered: time.Now(), token: a.token, expires: expires})
				mu.Lock()
				refreshes[a.refresh] = name
				mu.Unlock()
			}
			held.replay(w)
		})
	}))
	h.Config.ErrorLog = quiet()
	h.StartTLS()
	t.Cleanup(h.Close)
	return front{url: h.URL + "/token", caBundle: certificatePEM(h)}
}

// issue is what an answer of any of the providers brings.
type issue struct {
	token, refresh string
	expiresAt      int64
}

func readAnswer(body []byte) issue {
	var a struct {
		Access    string `json:"access_token"`
		Refresh   string `json:"refresh_token"`
		ExpiresAt int64  `json:"expires_at"`
		Data      struct {
			Access string `json:"accessToken"`
		} `json:"data"`
	}
	_ = json.Unmarshal(body, &a)
	if a.Access == "" {
		a.Access = a.Data.Access
	}
	return issue{token: a.Access, refresh: a.Refresh, expiresAt: a.ExpiresAt}
}

// apiGate stands between the operators and the API server. The first segment of the
// path says which one it is.
func (s *stage) apiGate(t *testing.T) string {
	t.Helper()
	transport, err := rest.TransportFor(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	backend, err := url.Parse(s.cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(backend) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      quiet(),
	}
	h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		segment, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/p"), "/")
		id, err := strconv.Atoi(segment)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		r.URL.Path, r.URL.RawPath = "/"+rest, ""
		if r.Method == http.MethodGet {
			proxy.ServeHTTP(w, r)
			return
		}
		body, err := readAll(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Header.Del("Accept-Encoding")
		m, object := s.recognise(r, body)
		if m.step == "" {
			proxy.ServeHTTP(w, r)
			return
		}
		m.process = id
		s.serve(w, m, func(w http.ResponseWriter) {
			held := newRecording()
			proxy.ServeHTTP(held, r.WithContext(context.WithoutCancel(r.Context())))
			if held.status < 300 {
				s.committed(m, object, held.body)
			}
			held.replay(w)
		})
	}))
	h.Config.ErrorLog = quiet()
	h.Start()
	t.Cleanup(h.Close)
	return h.URL
}

// committed books a write that the API server took.
func (s *stage) committed(m moment, object any, answer []byte) {
	switch m.step {
	case targetWrite:
		decoded, _, err := clientgoscheme.Codecs.UniversalDeserializer().Decode(answer, nil, nil)
		saved, ok := decoded.(*corev1.Secret)
		if err != nil || !ok {
			s.complain("a write of %s was answered by something else than a Secret", m.object)
			return
		}
		s.books.wrote(saved.ResourceVersion, write{process: m.process, at: time.Now()})
	case recordWrite:
		cm, _ := object.(*corev1.ConfigMap)
		rec := record{process: m.process}
		if err := json.Unmarshal([]byte(cm.Data["record"]), &rec); err != nil {
			s.complain("a login record cannot be read")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.records[cm.Name] = append(s.records[cm.Name], rec)
	case leaseWrite:
		lease, _ := object.(*coordinationv1.Lease)
		if lease == nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.leader != m.process {
			s.leader = m.process
			s.leaderNews <- m.process
		}
	}
}

// recognise tells which step a write is; none for all others and dry runs.
func (s *stage) recognise(r *http.Request, body []byte) (moment, any) {
	if r.URL.Query().Has("dryRun") {
		return moment{}, nil
	}
	parts := strings.Split(r.URL.Path, "/")
	if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/providertokens/") && strings.HasSuffix(r.URL.Path, "/status") && len(parts) > 7 {
		return moment{step: statusPatch, object: parts[5] + "/" + parts[7]}, nil
	}
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		return moment{}, nil
	}
	object, _, err := clientgoscheme.Codecs.UniversalDeserializer().Decode(bytes.Clone(body), nil, nil)
	if err != nil {
		return moment{}, nil
	}
	switch o := object.(type) {
	case *corev1.Secret:
		if o.Labels[v1alpha1.TargetLabel] == "" {
			return moment{}, nil
		}
		return moment{step: targetWrite, object: o.Namespace + "/" + o.Name}, o
	case *corev1.ConfigMap:
		return moment{step: recordWrite, object: o.Name}, o
	case *coordinationv1.Lease:
		return moment{step: leaseWrite, object: o.Name}, o
	}
	return moment{}, nil
}

// observe watches every version of every target in the namespaces until the test
// ends, past the gates.
func (s *stage) observe(t *testing.T, namespaces ...string) *observer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	o := &observer{stage: s, namespaces: namespaces, marks: make(chan string, 16), over: make(chan struct{}, 2)}
	var secrets corev1.SecretList
	var tokens v1alpha1.ProviderTokenList
	for _, list := range []client.ObjectList{&secrets, &tokens} {
		if err := s.k8s.List(ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	go o.watch(ctx, secrets.ResourceVersion)
	go o.watchFreezes(ctx, tokens.ResourceVersion)
	t.Cleanup(func() { cancel(); <-o.over; <-o.over })
	return o
}

type observer struct {
	*stage
	namespaces []string
	marks      chan string
	over       chan struct{}
}

func (o *observer) watch(ctx context.Context, revision string) {
	o.follow(ctx, &corev1.SecretList{}, revision, func(what watch.EventType, object client.Object) {
		if s, ok := object.(*corev1.Secret); ok {
			o.note(what, s)
		}
	})
}

// watchFreezes books which ProviderTokens say that their login is frozen.
func (o *observer) watchFreezes(ctx context.Context, revision string) {
	o.follow(ctx, &v1alpha1.ProviderTokenList{}, revision, func(what watch.EventType, object client.Object) {
		pt, ok := object.(*v1alpha1.ProviderToken)
		if !ok || pt.Labels[shardLabel] != o.name {
			return
		}
		issued := meta.FindStatusCondition(pt.Status.Conditions, v1alpha1.TokenIssuedCondition)
		is := issued != nil && issued.Reason == v1alpha1.ReasonLoginFrozen && what != watch.Deleted
		o.books.froze(pt.Namespace+"/"+pt.Name, is, time.Now())
	})
}

// follow sees every event after revision, over as many watches as it takes.
func (o *observer) follow(ctx context.Context, kind client.ObjectList, revision string, see func(watch.EventType, client.Object)) {
	defer func() { o.over <- struct{}{} }()
	for ctx.Err() == nil {
		w, err := o.k8s.Watch(ctx, kind, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: revision}})
		if err != nil {
			if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
				o.complain("the observer missed versions: %v", err)
				return
			}
			continue
		}
		for e := range w.ResultChan() {
			object, ok := e.Object.(client.Object)
			if !ok {
				w.Stop()
				if e.Type == watch.Error && ctx.Err() == nil {
					o.complain("the observer missed versions: %v", apierrors.FromObject(e.Object))
				}
				return
			}
			revision = object.GetResourceVersion()
			see(e.Type, object)
		}
		w.Stop()
	}
}

func (o *observer) note(what watch.EventType, s *corev1.Secret) {
	ours := false
	for _, n := range o.namespaces {
		ours = ours || s.Namespace == n
	}
	if mark, is := s.Labels["crash/mark"]; is && ours {
		o.marks <- mark
	}
	if !ours || s.Labels[v1alpha1.TargetLabel] == "" {
		return
	}
	v := version{
		object: s.Namespace + "/" + s.Name, revision: s.ResourceVersion, seen: time.Now(), gone: what == watch.Deleted,
		token: string(s.Data["token"]), handled: s.Annotations[v1alpha1.RefreshHandledAnnotation],
	}
	v.refreshAt, _ = time.Parse(time.RFC3339, s.Annotations[v1alpha1.RefreshAtAnnotation])
	v.stamped = s.CreationTimestamp.Time
	for _, f := range s.ManagedFields {
		if f.Time != nil && f.Time.After(v.stamped) {
			v.stamped = f.Time.Time
		}
	}
	o.books.saw(v)
}

// caughtUp returns when the observer has seen everything that was written until now.
func (o *observer) caughtUp(ctx context.Context, t *testing.T) {
	t.Helper()
	mark := strconv.FormatInt(time.Now().UnixNano(), 36)
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: o.namespaces[0], Name: "mark-" + mark, Labels: map[string]string{"crash/mark": mark}}}
	o.create(ctx, t, s)
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	for {
		select {
		case m := <-o.marks:
			if m == mark {
				return
			}
		case <-ctx.Done():
			t.Fatal("the observer is blind: ", context.Cause(ctx))
		}
	}
}

// report prints the figures of the books, and fails where one must be zero.
func (s *stage) report(t *testing.T, b *balance, print func(string, ...any)) {
	t.Helper()
	print("versions of targets seen                        %6d", b.Versions)
	print("tokens minted                                   %6d", b.Mints)
	for _, why := range []string{"first token", "due", "requested", "spec edited", "target gone or edited, and a new process"} {
		print("  %-45s %6d", why, b.Needs[why])
	}
	print("mints needed                                    %6d", b.needed())
	print("  published                                     %6d", b.Published)
	print("  in flight at the end of their process         %6d", b.InFlight)
	print("  overtaken by an edit                          %6d", b.Dropped)
	print("tokens lost                                     %6d", len(b.Lost))
	print("double mints                                    %6d", len(b.Double))
	print("expired seconds                                 %6.1f", (b.Expired - b.Held).Seconds())
	print("  and while a login was frozen (lost in crashes)     %6.1f", b.Held.Seconds())
	for what, all := range map[string][]string{"lost": b.Lost, "double mint": b.Double, "unexplained": b.Odd} {
		for _, v := range all {
			t.Errorf("%s: %s", what, v)
		}
	}
	if b.Expired > b.Held {
		for _, v := range b.Late {
			t.Error(v)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.complaints {
		t.Error(v)
	}
	if t.Failed() {
		t.Log(tail(s.log.Name()))
	}
}
