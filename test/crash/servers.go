package crash

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"

	"github.com/providertoken/operator/internal/providersim"
)

// authorizationServer issues refresh tokens that work once.
type authorizationServer interface {
	// ServeHTTP is the token endpoint, at every path.
	http.Handler
	// ClientID of its public client.
	ClientID() string
	// Authorize is what a person does: it opens a new family of tokens.
	Authorize(ctx context.Context) (refreshToken string, err error)
	// Accepts tells whether an access token works.
	Accepts(ctx context.Context, accessToken string) bool
}

const (
	fositeClient = "crash"
	password     = "a password"
)

// fositeServer is an authorization server made of ory/fosite, which revokes a family on reuse.
type fositeServer struct{ provider fosite.OAuth2Provider }

func newFositeServer(lifetime time.Duration) (*fositeServer, error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	config := &fosite.Config{
		AccessTokenLifespan: lifetime, RefreshTokenLifespan: time.Hour,
		RefreshTokenScopes: []string{}, GlobalSecret: secret, SendDebugMessagesToClients: false,
	}
	store := storage.NewMemoryStore()
	store.Clients[fositeClient] = &fosite.DefaultClient{
		ID: fositeClient, Public: true, GrantTypes: []string{"password", "refresh_token"}, Scopes: []string{"offline"},
	}
	store.Users["person"] = storage.MemoryUserRelation{Username: "person", Password: password}
	return &fositeServer{provider: compose.Compose(config, store, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2ResourceOwnerPasswordCredentialsFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2TokenIntrospectionFactory)}, nil
}

func (s *fositeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewAccessRequest(ctx, r, &fosite.DefaultSession{})
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	if request.GetGrantTypes().ExactOne("password") {
		request.GrantScope("offline")
	}
	answer, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.provider.WriteAccessResponse(ctx, w, request, answer)
}

func (s *fositeServer) ClientID() string { return fositeClient }

func (s *fositeServer) Authorize(ctx context.Context) (string, error) {
	return login(ctx, s, url.Values{"grant_type": {"password"}, "client_id": {fositeClient}, "username": {"person"}, "password": {password}, "scope": {"offline"}})
}

func (s *fositeServer) Accepts(ctx context.Context, accessToken string) bool {
	_, _, err := s.provider.IntrospectToken(ctx, accessToken, fosite.AccessToken, &fosite.DefaultSession{})
	return err == nil
}

// keycloakServer is the simulated Keycloak, which kills a session on reuse.
type keycloakServer struct {
	http.Handler
	sim *providersim.Simulator
}

func newKeycloakServer(lifetime time.Duration) (*keycloakServer, error) {
	sim, err := providersim.Start(providersim.Options{Lifetime: lifetime})
	if err != nil {
		return nil, err
	}
	sim.UP42.RotateRefreshTokens(true)
	sim.UP42.SetRefreshLifetime(time.Hour)
	proxy, err := simProxy(sim.UP42.TokenURL(), sim.CABundle())
	if err != nil {
		return nil, err
	}
	return &keycloakServer{Handler: proxy, sim: sim}, nil
}

// simProxy forwards every request to one endpoint of a simulator with this authority.
func simProxy(endpoint, authority string) (http.Handler, error) {
	to, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(authority)) {
		return nil, errors.New("the simulator has no certificate")
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL, r.Out.Host = to, to.Host
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 32},
		ErrorLog:  log.New(io.Discard, "", 0),
	}, nil
}

func (s *keycloakServer) ClientID() string { return providersim.UP42ClientID }

func (s *keycloakServer) Authorize(ctx context.Context) (string, error) {
	return login(ctx, s, url.Values{
		"grant_type": {"password"}, "client_id": {providersim.UP42ClientID},
		"username": {providersim.UP42Username}, "password": {providersim.UP42Password},
	})
}

func (s *keycloakServer) Accepts(_ context.Context, accessToken string) bool {
	return s.sim.UP42.Accepts(accessToken)
}

// answer of a token endpoint.
type answer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Error   string `json:"error"`
}

func login(ctx context.Context, endpoint http.Handler, form url.Values) (string, error) {
	status, body := ask(ctx, endpoint, form)
	var a answer
	if err := json.Unmarshal(body, &a); err != nil || a.Refresh == "" {
		return "", fmt.Errorf("logging in: HTTP %d, error %q", status, a.Error)
	}
	return a.Refresh, nil
}

// ask calls a token endpoint in this process.
func ask(ctx context.Context, endpoint http.Handler, form url.Values) (status int, body []byte) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://in-process/token", strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := newRecording()
	endpoint.ServeHTTP(w, r)
	return w.status, w.body
}

// recording is an answer that is held back.
type recording struct {
	header http.Header
	status int
	body   []byte
}

func newRecording() *recording { return &recording{header: http.Header{}, status: http.StatusOK} }

func (w *recording) Header() http.Header { return w.header }

func (w *recording) WriteHeader(status int) { w.status = status }

func (w *recording) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}

// replay writes the held-back answer.
func (w *recording) replay(out http.ResponseWriter) {
	for name, values := range w.header {
		out.Header()[name] = values
	}
	out.Header().Del("Content-Length")
	out.WriteHeader(w.status)
	_, _ = out.Write(w.body)
	if f, ok := out.(http.Flusher); ok {
		f.Flush()
	}
}

// readAll is the body of a request, which can be read again afterwards.
func readAll(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	r.ContentLength = int64(len(body))
	return body, nil
}
