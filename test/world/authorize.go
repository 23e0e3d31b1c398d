package world

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/providertoken/operator/internal/providersim"
)

// Authorize is what a person does in a browser: it brings a new refresh token of UP42.
func (w *World) Authorize(ctx context.Context) string {
	GinkgoHelper()
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM([]byte(w.Sim.CABundle()))).To(BeTrue())
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	defer browser.CloseIdleConnections()
	form := url.Values{"grant_type": {"password"}, "client_id": {providersim.UP42ClientID}, "username": {providersim.UP42Username}, "password": {providersim.UP42Password}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.Sim.UP42.TokenURL(), strings.NewReader(form.Encode()))
	Expect(err).NotTo(HaveOccurred())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := browser.Do(req)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Refresh string `json:"refresh_token"`
	}
	Expect(json.NewDecoder(resp.Body).Decode(&answer)).To(Succeed())
	Expect(answer.Refresh).NotTo(BeEmpty())
	return answer.Refresh
}
