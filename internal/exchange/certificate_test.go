package exchange

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/token"
)

// member is a client certificate with its key.
func member(t *testing.T, name string) *provider.Certificate {
	t.Helper()
	now := time.Now()
	pair := issue(t, name, now.Add(-time.Hour), now.Add(time.Hour))
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return &provider.Certificate{Chain: pemOf(pair.Certificate[0]), Key: token.NewSecret(key)}
}

// serveMutual is serve for an endpoint that asks for a certificate and answers with the name in it.
func serveMutual(t *testing.T, http2 bool, auth tls.ClientAuthType, version uint16) *endpoint {
	t.Helper()
	e := &endpoint{closed: make(chan struct{}, 1000)}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.requests.Add(1)
		for _, c := range r.TLS.PeerCertificates {
			_, _ = io.WriteString(w, c.Subject.CommonName)
		}
	}))
	e.EnableHTTP2 = http2
	// It lists an authority that signed none of the clients' certificates.
	others := x509.NewCertPool()
	others.AppendCertsFromPEM([]byte(member(t, "authority").Chain))
	e.TLS = &tls.Config{ClientAuth: auth, ClientCAs: others, MinVersion: version, MaxVersion: version}
	e.Config.ErrorLog = log.New(io.Discard, "", 0)
	e.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			e.connections.Add(1)
		case http.StateClosed:
			e.closed <- struct{}{}
		}
	}
	e.StartTLS()
	t.Cleanup(e.Close)
	return e
}

func showing(c *provider.Certificate, base string) provider.Request {
	req := post(base)
	req.Certificate = c
	return req
}

func TestACertificateOpensItsOwnConnectionsOnly(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			e := serveMutual(t, http2, tls.RequestClientCert, tls.VersionTLS13)
			c := client(t, Options{})
			one, two := member(t, "one"), member(t, "two")
			for i, step := range []struct {
				certificate *provider.Certificate
				name        string
				connections int32
			}{{one, "one", 1}, {nil, "", 2}, {two, "two", 3}, {one, "one", 3}, {nil, "", 3}, {two, "two", 3}} {
				answer, err := c.Do(t.Context(), showing(step.certificate, e.URL), e.trust())
				if err != nil {
					t.Fatal(err)
				}
				if string(answer.Body) != step.name || e.connections.Load() != step.connections {
					t.Errorf("step %d: the provider saw %q over %d connections, want %q over %d", i, answer.Body, e.connections.Load(), step.name, step.connections)
				}
			}
		})
	}
}

func TestTheSameChainWithAnotherKeyIsAnotherCertificate(t *testing.T) {
	one, two := member(t, "one"), member(t, "two")
	mixed := &provider.Certificate{Chain: one.Chain, Key: two.Key}
	if identify(one) == identify(mixed) || identify(one) == identify(two) || identify(one) == identify(nil) {
		t.Error("two certificates would share connections")
	}
	if again := *one; identify(one) != identify(&again) {
		t.Error("a certificate has more than one identity")
	}
	shifted := &provider.Certificate{Chain: one.Chain + one.Key.Reveal()}
	if identify(one) == identify(shifted) {
		t.Error("chain and key run into one another")
	}
}

func TestTransportsOfCertificatesAreBounded(t *testing.T) {
	e := serveMutual(t, false, tls.RequireAnyClientCert, tls.VersionTLS13)
	c := client(t, Options{})
	const more = 3
	one := member(t, "one")
	for i := range maxTransports + more {
		certificate := *one
		certificate.Chain = fmt.Sprintf("renewed %d\n%s", i, one.Chain)
		if _, err := c.Do(t.Context(), showing(&certificate, e.URL), e.trust()); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.connections.Load(); got != maxTransports+more {
		t.Fatalf("%d connections, want one for each certificate", got)
	}
	for range more {
		<-e.closed // those of the transports that were given up
	}
	if a, b := c.transports.recent.Len(), len(c.transports.byKey); a != maxTransports || b != maxTransports {
		t.Errorf("%d and %d transports are kept", a, b)
	}
}

func TestACertificateThatTheProviderRefusesIsAMisconfiguration(t *testing.T) {
	e := serveMutual(t, false, tls.RequireAndVerifyClientCert, tls.VersionTLS12)
	one := member(t, "one")
	_, err := client(t, Options{}).Do(t.Context(), showing(one, e.URL), e.trust())
	wantFailure(t, err, provider.Misconfigured, false, "TLS handshake")
	if !strings.Contains(err.Error(), "knows the client's certificate") {
		t.Errorf("%q does not say what to do about the certificate", err)
	}
	if got := e.requests.Load(); got != 0 {
		t.Errorf("%d requests arrived", got)
	}
	// With TLS 1.3 the refusal may come after the request, in one of several ways.
	late := serveMutual(t, false, tls.RequireAndVerifyClientCert, tls.VersionTLS13)
	if _, err = client(t, Options{}).Do(t.Context(), showing(one, late.URL), late.trust()); err == nil || late.requests.Load() != 0 {
		t.Errorf("got %v, and %d requests arrived", err, late.requests.Load())
	}
}

func TestACertificateThatCannotBeUsedIsAnInputErrorThatDoesNotShowIt(t *testing.T) {
	one, two := member(t, "one"), member(t, "two")
	for name, c := range map[string]*provider.Certificate{
		"another's key":  {Chain: one.Chain, Key: two.Key},
		"no key":         {Chain: one.Chain},
		"no certificate": {Key: one.Key},
		"words":          {Chain: "s3cr3t", Key: token.NewSecret("s3cr3t")},
	} {
		t.Run(name, func(t *testing.T) {
			cl := client(t, Options{})
			_, err := cl.Do(t.Context(), showing(c, "https://127.0.0.1:1"), Trust{})
			wantFailure(t, err, provider.Input, false, "certificate and its private key")
			for line := range strings.Lines(c.Chain + c.Key.Reveal()) {
				if strings.Contains(err.Error(), strings.TrimSpace(line)) {
					t.Errorf("%q shows the key", err)
				}
			}
			if len(cl.transports.byKey) != 0 {
				t.Error("a transport was kept for it")
			}
		})
	}
}
