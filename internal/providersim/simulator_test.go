package providersim_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/providersim"
)

func start() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// fakeClock stands still until it is told to move.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a simulator with a clock that stands still and a client that trusts it.
type bench struct {
	*providersim.Simulator
	clock  *fakeClock
	client *http.Client
}

func newBench(t *testing.T, o providersim.Options) *bench {
	t.Helper()
	b := &bench{clock: &fakeClock{now: start()}}
	o.Now = b.clock.Now
	sim, err := providersim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	b.Simulator, b.client = sim, trusting(t, sim.CABundle())
	b.introduceB()
	b.introduceA()
	t.Cleanup(b.client.CloseIdleConnections)
	return b
}

func trusting(t *testing.T, bundle string) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(bundle)) {
		t.Fatal("the CA bundle holds no certificate")
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// call is one request as a test writes it.
type call struct {
	method, url string
	header      http.Header
	form        url.Values
	body        string // in place of form
}

func (c call) edit(edits ...func(*call)) call {
	c.header, c.form = c.header.Clone(), maps.Clone(c.form)
	for _, edit := range edits {
		edit(&c)
	}
	return c
}

type answer struct {
	status int
	header http.Header
	body   string
	fields map[string]any
}

func (a answer) token() string {
	token, _ := a.fields["access_token"].(string)
	return token
}

func (b *bench) send(t *testing.T, c call) answer {
	t.Helper()
	a, err := b.try(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (b *bench) try(ctx context.Context, c call) (answer, error) {
	body := c.body
	if c.form != nil && body == "" {
		body = c.form.Encode()
	}
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, c.method, c.url, reader)
	if err != nil {
		return answer{}, err
	}
	maps.Copy(r.Header, c.header)
	response, err := b.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	content, err := io.ReadAll(response.Body)
	if err := response.Body.Close(); err != nil {
		return answer{}, err
	}
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode, header: response.Header, body: string(content), fields: map[string]any{}}
	_ = json.Unmarshal(content, &a.fields)
	return a, nil
}

func formHeader() http.Header {
	return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
}

func (b *bench) generic() call {
	return call{method: http.MethodPost, url: b.Generic.TokenURL(), header: formHeader(), form: url.Values{
		"grant_type": {"client_credentials"}, "client_id": {providersim.GenericClientID}, "client_secret": {providersim.GenericClientSecret},
	}}
}

func (b *bench) use(t *testing.T, h interface{ ResourceURL() string }, token string) int {
	t.Helper()
	return b.send(t, call{
		method: http.MethodGet, url: h.ResourceURL(), header: http.Header{"Authorization": {"Bearer " + token}},
	}).status
}

func TestEveryProviderHasAListenerOfItsOwnAndServesVerifiedTLS(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	seen := map[string]string{}
	for _, h := range b.hosts() {
		if other := seen[h.Address()]; other != "" {
			t.Errorf("%s and %s share %s", h.Name(), other, h.Address())
		}
		seen[h.Address()] = h.Name()
		if got := b.use(t, h, "unknown"); got != http.StatusUnauthorized {
			t.Errorf("%s: a token that was never issued: got %d, want 401", h.Name(), got)
		}
		_, port, err := net.SplitHostPort(h.Address())
		if err != nil {
			t.Fatal(err)
		}
		byName := call{method: http.MethodGet, url: "https://localhost:" + port + "/resource"}
		if got := b.send(t, byName).status; got != http.StatusUnauthorized {
			t.Errorf("%s by name: got %d, want 401", h.Name(), got)
		}
	}
	if len(seen) != len(providersim.Names()) {
		t.Errorf("got %d listeners, want one for each of %v", len(seen), providersim.Names())
	}
}

func TestAnotherSimulatorsAuthorityIsNotTrusted(t *testing.T) {
	t.Parallel()
	b, stranger := newBench(t, providersim.Options{}), newBench(t, providersim.Options{})
	b.client = stranger.client
	if _, err := b.try(t.Context(), b.generic()); err == nil {
		t.Error("the certificate was verified by another simulator's authority")
	}
}

func TestStartRefusesOptionsThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	busy := newBench(t, providersim.Options{}).Generic.Address()
	for name, o := range map[string]providersim.Options{
		"a lifetime for nobody":       {Lifetimes: map[string]time.Duration{"Nobody": time.Minute}},
		"an address for nobody":       {Addresses: map[string]string{"Nobody": "127.0.0.1:0"}},
		"a fraction of a second":      {Lifetime: time.Millisecond},
		"a negative lifetime":         {Lifetimes: map[string]time.Duration{providersim.UP42Name: -time.Second}},
		"an address that is taken":    {Addresses: map[string]string{providersim.UP42Name: busy}},
		"an address that is no such":  {Addresses: map[string]string{providersim.UP42Name: "nonsense"}},
		"a negative default lifetime": {Lifetime: -time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if sim, err := providersim.Start(o); err == nil {
				sim.Close()
				t.Error("started")
			}
		})
	}
}

func TestServerNamesAreInURLsAndCertificates(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{ServerNames: []string{"providers.demo.svc"}})
	if !strings.HasPrefix(b.UP42.TokenURL(), "https://providers.demo.svc:") {
		t.Fatalf("got %s", b.UP42.TokenURL())
	}
	_, port, err := net.SplitHostPort(b.UP42.Address())
	if err != nil {
		t.Fatal(err)
	}
	b.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, "127.0.0.1:"+port)
	}
	if got := b.use(t, b.UP42, "unknown"); got != http.StatusUnauthorized {
		t.Errorf("got %d, want 401 over a verified connection", got)
	}
}

func TestTokensAreAcceptedFromIssueUntilExpiry(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{Lifetime: 30 * time.Second})
	token := b.send(t, b.generic()).token()
	if b.Generic.Accepts("made up") {
		t.Error("a token that was never issued is accepted")
	}
	b.clock.Step(29 * time.Second)
	if !b.Generic.Accepts(token) || b.use(t, b.Generic, token) != http.StatusOK {
		t.Error("a live token is refused")
	}
	if b.UP42.Accepts(token) {
		t.Error("another provider accepts the token")
	}
	b.clock.Step(time.Second)
	if b.Generic.Accepts(token) || b.use(t, b.Generic, token) != http.StatusUnauthorized {
		t.Error("an expired token is accepted")
	}
	fresh := b.send(t, b.generic()).token()
	b.Generic.RevokeAll()
	if b.Generic.Accepts(fresh) {
		t.Error("a revoked token is accepted")
	}
}

func TestLifetimesByNameWinOverTheCommonOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{Lifetime: 30 * time.Second, Lifetimes: map[string]time.Duration{providersim.GenericName: 40 * time.Second}})
	if got := b.send(t, b.generic()).fields["expires_in"]; got != 40.0 {
		t.Errorf("Generic: got expires_in %v, want 40", got)
	}
	if got := b.send(t, b.plantPredict()).fields["expires_in"]; got != 30.0 {
		t.Errorf("PlantPredict: got expires_in %v, want 30", got)
	}
	b.Generic.SetLifetime(50 * time.Second)
	if got := b.send(t, b.generic()).fields["expires_in"]; got != 50.0 {
		t.Errorf("Generic: got expires_in %v, want 50", got)
	}
}

func TestASkewedProviderDatesAnswersAndExpiriesByItsOwnClock(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.SpatiaFi.SetClockSkew(time.Hour)
	a := b.send(t, b.spatiaFiLogin())
	if got, want := a.header.Get("Date"), start().Add(time.Hour).Format(http.TimeFormat); got != want {
		t.Errorf("got Date %s, want %s", got, want)
	}
	if got, want := a.fields["expires_at"], float64(start().Add(time.Hour+15*time.Minute).Unix()); got != want {
		t.Errorf("got expires_at %v, want %v", got, want)
	}
	if !b.SpatiaFi.Accepts(a.token()) {
		t.Error("the token is refused by the clock that issued it")
	}
}

func TestCallsTellWhatArrivedAndWhatBecameOfItAndNoSecret(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.send(t, b.generic().edit(func(c *call) {
		c.form.Set("scope", "a")
		c.header.Set("User-Agent", "test/1")
	}))
	b.clock.Step(time.Second)
	b.send(t, b.generic().edit(func(c *call) { c.form.Set("client_secret", "wrong") }))
	b.use(t, b.Generic, "unknown")
	b.Generic.Next(providersim.Drop())
	if _, err := b.try(t.Context(), b.generic().edit(func(c *call) { c.header.Set("User-Agent", "test/2") })); err == nil {
		t.Error("an answer came through a cut connection")
	}
	grant := url.Values{"grant_type": {"client_credentials"}}
	want := []providersim.Call{
		{
			Time: start(), Kind: providersim.KindClientCredentials, Method: "POST", Path: "/token", UserAgent: "test/1",
			Form: url.Values{"grant_type": {"client_credentials"}, "scope": {"a"}}, Status: 200,
		},
		{
			Time: start().Add(time.Second), Kind: providersim.KindClientCredentials, Method: "POST", Path: "/token",
			UserAgent: "Go-http-client/2.0", Form: grant, Status: 401,
		},
		{
			Time: start().Add(time.Second), Kind: providersim.KindResource, Method: "GET", Path: "/resource",
			UserAgent: "Go-http-client/2.0", Form: url.Values{}, Status: 401,
		},
		{
			Time: start().Add(time.Second), Kind: providersim.KindClientCredentials, Method: "POST", Path: "/token",
			UserAgent: "test/2", Form: grant, Status: 0,
		},
	}
	if diff := cmp.Diff(want, b.Generic.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if got := b.Generic.Count(providersim.KindClientCredentials); got != 3 {
		t.Errorf("got %d requests of the grant, want 3", got)
	}
	if got := b.Generic.Issued(); got != 1 {
		t.Errorf("got %d tokens issued, want 1", got)
	}
}

func TestBlackHolesAcceptAndNeverSayAWord(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	holes, err := b.BlackHoles(3)
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for _, address := range holes {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := conn.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if len(conns) != 3 {
		t.Fatalf("got %d black holes, want 3", len(conns))
	}
	b.Close()
	for _, conn := range conns {
		if content, err := io.ReadAll(bufio.NewReader(conn)); len(content) > 0 {
			t.Errorf("a black hole said %q (%v)", content, err)
		}
	}
	if _, err := b.BlackHoles(1); err == nil {
		t.Error("a closed simulator opens black holes")
	}
}

// Not parallel: it looks at all goroutines of the process.
func TestCloseEndsHangingRequestsAndLeavesNoGoroutine(t *testing.T) {
	b := newBench(t, providersim.Options{})
	gate := providersim.NewGate()
	b.Generic.Next(providersim.Hang(), providersim.Hold(gate), providersim.SlowBody(time.Hour))
	var wait sync.WaitGroup
	errs := make(chan error, 3)
	for range 3 {
		wait.Go(func() {
			_, err := b.try(t.Context(), b.generic())
			errs <- err
		})
	}
	if err := gate.Await(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	holes, err := b.BlackHoles(1)
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", holes[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	b.Close()
	b.Close()
	wait.Wait()
	for range 3 {
		if err := <-errs; err == nil {
			t.Error("a hanging request was answered")
		}
	}
	b.client.CloseIdleConnections()
	for b.goroutines() > 0 {
		if t.Context().Err() != nil {
			t.Fatal("goroutines are left")
		}
		runtime.Gosched()
	}
}

// goroutines counts those of servers and of the simulator, this test's own aside.
func (*bench) goroutines() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	n := 0
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "net/http.(*conn)") || strings.Contains(stack, "net/http.(*Server)") ||
			strings.Contains(stack, "providersim.(*") {
			n++
		}
	}
	return n
}

func TestHTTP2CanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	for http1, want := range map[bool]string{true: "Go-http-client/1.1", false: "Go-http-client/2.0"} {
		b := newBench(t, providersim.Options{HTTP1: http1})
		b.send(t, b.generic())
		if got := b.Generic.Calls()[0].UserAgent; got != want {
			t.Errorf("with HTTP1 %v: got a %s", http1, got)
		}
	}
}

// The books are swept every thousand tokens or so.
func TestALongRunForgetsNoLiveToken(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{Lifetime: time.Minute})
	for _, c := range []struct {
		call call
		host *providersim.Host
	}{
		{b.generic(), b.Generic.Host},
		{b.up42(), b.UP42.Host}, // last: its sessions are counted below
	} {
		name := c.host.Name()
		early := b.send(t, c.call)
		b.clock.Step(10 * time.Minute)
		late := b.send(t, c.call)
		for range 1100 {
			b.send(t, c.call)
		}
		if c.host.Accepts(early.token()) || !c.host.Accepts(late.token()) {
			t.Errorf("%s: accepts the expired token %v, the live one %v", name, c.host.Accepts(early.token()), c.host.Accepts(late.token()))
		}
		if got := c.host.Issued(); got != 1102 {
			t.Errorf("%s: got %d tokens issued, want 1102", name, got)
		}
	}
	if got := b.UP42.Sessions(); got != 1101 {
		t.Errorf("got %d sessions alive, want 1101", got)
	}
}
