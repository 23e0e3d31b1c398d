//go:build crash

package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// step of the protocol, as seen from between.
type step string

const (
	stateCreate step = "state create"
	intentPut   step = "intent PUT"
	tokenPost   step = "token POST"
	statePut    step = "state PUT"
	targetWrite step = "target write"
	statusPatch step = "status PATCH"
	anyTime     step = "any time"
)

// phase of a request at which the operator is killed.
type phase string

const (
	before   phase = "before it arrives"
	between  phase = "before its answer"
	after    phase = "after its answer"
	whenever phase = "at random"
)

// generationKey holds which operator process a connection belongs to.
type generationKey struct{}

// front stands between the operator and a server.
type front struct {
	url      string
	caBundle string
}

// serve handles one request of the operator, with the chance to kill it at each phase.
func (h *harness) serve(w http.ResponseWriter, r *http.Request, s step, forward func(http.ResponseWriter)) {
	generation, _ := r.Context().Value(generationKey{}).(int64)
	if h.kills(s, before, generation) {
		panic(http.ErrAbortHandler)
	}
	held := newRecording()
	forward(held)
	if h.kills(s, between, generation) {
		panic(http.ErrAbortHandler)
	}
	held.replay(w)
	h.kills(s, after, generation)
}

func (h *harness) connContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, generationKey{}, h.generation.Load())
}

// providerFront is the TLS front of an authorization server, where the books are kept.
func (h *harness) providerFront(t *testing.T, backend authorizationServer) front {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := readAll(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		form, err := url.ParseQuery(string(body))
		refresh := form.Get("refresh_token")
		if err != nil || form.Get("grant_type") != "refresh_token" || refresh == "" {
			h.complain("the operator sent something else than a refresh: %s", form.Get("grant_type"))
			panic(http.ErrAbortHandler)
		}
		h.serve(w, r, tokenPost, func(w http.ResponseWriter) {
			h.books.arrived(refresh)
			held := newRecording()
			// What has arrived is judged, whoever waits for it.
			backend.ServeHTTP(held, r.WithContext(context.WithoutCancel(r.Context())))
			var a answer
			_ = json.Unmarshal(held.body, &a)
			h.books.judged(refresh, a)
			held.replay(w)
		})
	}))
	s.Config.ConnContext = h.connContext
	s.Config.ErrorLog = quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	return front{url: s.URL + "/token", caBundle: certificatePEM(s)}
}

// apiFront stands between the operator and the API server.
func (h *harness) apiFront(t *testing.T, cfg *rest.Config) front {
	t.Helper()
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1,
		ErrorLog:      quiet(),
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			proxy.ServeHTTP(w, r)
			return
		}
		body, err := readAll(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Header.Del("Accept-Encoding")
		which, secret := classify(r, body)
		if which == "" {
			proxy.ServeHTTP(w, r)
			return
		}
		h.serve(w, r, which, func(w http.ResponseWriter) {
			if which == targetWrite {
				h.books.publishing(string(secret.Data["token"]))
			}
			held := newRecording()
			// A lock around the write and its booking: the books must not lag behind the API server.
			h.writing(secret, func() bool {
				proxy.ServeHTTP(held, r.WithContext(context.WithoutCancel(r.Context())))
				return held.status < 300
			})
			held.replay(w)
		})
	}))
	s.Config.ConnContext = h.connContext
	s.Config.ErrorLog = quiet()
	s.Start()
	t.Cleanup(s.Close)
	return front{url: s.URL}
}

// writing books a write of a state Secret that succeeded.
func (h *harness) writing(secret *corev1.Secret, do func() bool) {
	if secret == nil || !strings.HasSuffix(secret.Name, stateSuffix) {
		do()
		return
	}
	h.states.Lock()
	defer h.states.Unlock()
	if do() {
		h.books.wrote(string(secret.Data["refresh_token"]), recorded(secret))
	}
}

func recorded(secret *corev1.Secret) *intent {
	var rec struct {
		Intent *intent `json:"intent"`
	}
	_ = json.Unmarshal(secret.Data["record"], &rec)
	return rec.Intent
}

// classify tells which step of the protocol a write is; none for all others and dry runs.
func classify(r *http.Request, body []byte) (step, *corev1.Secret) {
	if r.URL.Query().Has("dryRun") {
		return "", nil
	}
	if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/providertokens/") && strings.HasSuffix(r.URL.Path, "/status") {
		return statusPatch, nil
	}
	if !strings.Contains(r.URL.Path, "/secrets") || r.Method != http.MethodPost && r.Method != http.MethodPut {
		return "", nil
	}
	object, _, err := clientgoscheme.Codecs.UniversalDeserializer().Decode(bytes.Clone(body), nil, nil)
	secret, ok := object.(*corev1.Secret)
	if err != nil || !ok {
		return "", nil
	}
	switch {
	case !strings.HasSuffix(secret.Name, stateSuffix) && secret.Data["token"] != nil:
		return targetWrite, secret
	case !strings.HasSuffix(secret.Name, stateSuffix):
		return "", nil
	case r.Method == http.MethodPost:
		return stateCreate, secret
	case recorded(secret) != nil:
		return intentPut, secret
	}
	return statePut, secret
}
