//go:build recipes

package recipes

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Of the simulated provider; see internal/providersim.
const (
	clientID     = "demo:client"
	clientSecret = "demo+secret %41&more="
	wrongSecret  = "yesterday's"
)

// provider is a simulated provider of the end-to-end suite, as a process at an
// address that pods reach. Its tokens live an hour: what a recipe shows about a new
// token is shown by asking for one.
type provider struct {
	tokenURL, resource, bundle string
	client                     *http.Client
}

func startProvider(t *testing.T, c cluster) provider {
	t.Helper()
	address := strings.TrimSpace(run(t, "", c.kubectl, "get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`))
	// Port 443, since the operator's NetworkPolicy lets it go nowhere else.
	const desk = "127.0.0.1:8480"
	c.start(t, "provider", "-provider=Generic", "-address="+address, "-listen="+address, "-admin="+desk, "-lifetime=1h")
	var state struct {
		CABundle  string            `json:"caBundle"`
		Endpoints map[string]string `json:"endpoints"`
	}
	eventually(t, "the provider answers", func() error {
		response, err := http.Get("http://" + desk + "/state")
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		return json.NewDecoder(response.Body).Decode(&state)
	})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(state.CABundle)) {
		t.Fatal("the provider tells no certificate")
	}
	return provider{
		tokenURL: state.Endpoints["token"], resource: state.Endpoints["resource"], bundle: state.CABundle,
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}},
	}
}

// accepts asks the provider whether a token works now.
func (p provider) accepts(token string) bool {
	request, err := http.NewRequest(http.MethodGet, p.resource, http.NoBody)
	if err != nil {
		return false
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := p.client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// door lets in who shows a token that the provider accepts at that moment, and that
// has not been withdrawn: as a password, or as a bearer.
type door struct {
	provider provider
	// username that must go with a password.
	username string

	mu        sync.Mutex
	withdrawn map[string]bool
	admitted  map[string]int // by the token's hash
	bearers   int            // of all admitted
	refused   int            // with a token, or whatever it was
}

func newDoor(p provider, username string) *door {
	return &door{provider: p, username: username, withdrawn: map[string]bool{}, admitted: map[string]int{}}
}

func (d *door) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.admits(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="recipes"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"show a token that works"}]}`, http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (d *door) admits(r *http.Request) bool {
	username, token, basic := r.BasicAuth()
	if !basic {
		var bearer bool
		if token, bearer = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); !bearer {
			return false
		}
	}
	works := d.provider.accepts(token) && (!basic || username == d.username)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !works || d.withdrawn[hash(token)] {
		d.refused++
		return false
	}
	d.admitted[hash(token)]++
	if !basic {
		d.bearers++
	}
	return true
}

// withdraw a token before its end, as a provider does that lets only the newest live.
func (d *door) withdraw(token []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.withdrawn[hash(string(token))] = true
}

// entered tells how often a token was let in, and how often anything was refused.
func (d *door) entered(token []byte) (admitted, refused int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.admitted[hash(string(token))], d.refused
}

// hash names a token as the reader does (test/e2e/wire).
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:6])
}

// loopback listens there on any port.
func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
