package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/test/e2e/wire"
)

// world is a provider behind its front, with the desk beside it, on loopback.
type world struct {
	t      *testing.T
	door   string // https://…
	desk   string // http://…
	client *http.Client
}

func newWorld(t *testing.T, http2 bool) world {
	t.Helper()
	sim, err := providersim.Start(providersim.Options{ServerNames: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	host, endpoints, err := choose(sim, providersim.GenericName)
	if err != nil {
		t.Fatal(err)
	}
	front, err := newFront(net.IPv4(127, 0, 0, 1), host.Address(), sim.CABundle())
	if err != nil {
		t.Fatal(err)
	}
	door, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- front.serve(ctx, door) }()
	t.Cleanup(func() { cancel(); <-ended })
	desk := httptest.NewServer(newDesk(host, front.bundle, endpoints).handler())
	t.Cleanup(desk.Close)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(front.bundle))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2}
	t.Cleanup(transport.CloseIdleConnections)
	return world{t: t, door: "https://" + door.Addr().String(), desk: desk.URL, client: &http.Client{Transport: transport}}
}

// mint asks for a token; it is empty where none was given.
func (w world) mint() (token string, status int, err error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {providersim.GenericClientID}, "client_secret": {providersim.GenericClientSecret}}
	response, err := w.client.PostForm(w.door+"/token", form)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	_ = json.NewDecoder(response.Body).Decode(&answer)
	return answer.AccessToken, response.StatusCode, nil
}

func (w world) use(token string) int {
	w.t.Helper()
	request, err := http.NewRequest(http.MethodGet, w.door+"/resource", http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("User-Agent", "reader-1")
	response, err := w.client.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func (w world) outage(kind string) int {
	w.t.Helper()
	response, err := http.Post(w.desk+"/outage/"+kind, "", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

func (w world) state() wire.Provider {
	w.t.Helper()
	response, err := http.Get(w.desk + "/state")
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	var s wire.Provider
	if err := json.NewDecoder(response.Body).Decode(&s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestTheProviderIsReachedThroughItsFrontByBothProtocols(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		w := newWorld(t, http2)
		token, status, err := w.mint()
		if err != nil || status != http.StatusOK || token == "" {
			t.Fatalf("HTTP/2 %v: %q, %d, %v", http2, token, status, err)
		}
		if got := w.use(token); got != http.StatusOK {
			t.Errorf("HTTP/2 %v: the token is answered with %d", http2, got)
		}
		if got := w.use("x"); got != http.StatusUnauthorized {
			t.Errorf("HTTP/2 %v: another token is answered with %d", http2, got)
		}
	}
}

func TestAnOutageIsOfTheTokenEndpointOnly(t *testing.T) {
	w := newWorld(t, false)
	token, _, err := w.mint()
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]int{"error": http.StatusServiceUnavailable, "cut": 0} {
		if w.outage(kind) != http.StatusOK {
			t.Fatalf("no outage %q", kind)
		}
		if got, status, _ := w.mint(); got != "" || status != want {
			t.Errorf("%s: a token is answered with %d, want %d", kind, status, want)
		}
		if got := w.use(token); got != http.StatusOK {
			t.Errorf("%s: the resource answers %d", kind, got)
		}
	}
	w.outage("none")
	if got, status, err := w.mint(); got == "" || status != http.StatusOK {
		t.Errorf("afterwards: %d, %v", status, err)
	}
	if got := w.outage("flood"); got != http.StatusNotFound {
		t.Errorf("an outage that does not exist is answered with %d", got)
	}
}

func TestTheDeskCountsMintsAndEachReadersCalls(t *testing.T) {
	w := newWorld(t, false)
	token, _, err := w.mint()
	if err != nil {
		t.Fatal(err)
	}
	w.use(token)
	w.use(token)
	w.use("x")
	s := w.state()
	if got := s.Readers["reader-1"]; got == nil || *got != (wire.Calls{OK: 2, Unauthorized: 1}) {
		t.Errorf("the reader's tally is %+v", got)
	}
	if s.Minted != 1 || s.Asked["client_credentials"] != 1 {
		t.Errorf("%d minted, asked %v", s.Minted, s.Asked)
	}
	if !strings.HasPrefix(s.Endpoints["token"], "https://127.0.0.1:") || !strings.Contains(s.CABundle, "BEGIN CERTIFICATE") {
		t.Errorf("%+v", s)
	}
}
