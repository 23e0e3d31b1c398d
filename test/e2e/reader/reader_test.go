package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/providertoken/operator/internal/providersim"
)

// minted asks a simulated provider for a token, as the operator would.
func minted(t *testing.T, sim *providersim.Simulator) string {
	t.Helper()
	body := `grant_type=client_credentials&client_id=demo%3Aclient&client_secret=demo%2Bsecret+%2541%26more%3D`
	r, err := newReader(options{url: sim.Generic.TokenURL()}, sim.CABundle(), "", new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.client.Post(sim.Generic.TokenURL(), "application/x-www-form-urlencoded", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("status %d, %v", response.StatusCode, err)
	}
	return answer.AccessToken
}

func startProvider(t *testing.T) *providersim.Simulator {
	t.Helper()
	sim, err := providersim.Start(providersim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	return sim
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAReaderUsesTheFileAsItIsAtThatMoment(t *testing.T) {
	sim := startProvider(t)
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "token")
	r, err := newReader(options{name: "r", file: path, url: sim.Generic.ResourceURL()}, sim.CABundle(), "", &out)
	if err != nil {
		t.Fatal(err)
	}
	first, second := minted(t, sim), minted(t, sim)
	r.call(t.Context()) // there is no file yet
	write(t, path, first+"\n")
	r.call(t.Context())
	write(t, path, "Bearer "+second)
	r.call(t.Context())
	r.call(t.Context())
	write(t, path, "forged")
	r.call(t.Context())

	s := r.state
	if s.Reads != 5 || s.OK != 3 || s.Unauthorized != 1 || s.Other != 1 || s.Unreadable != 1 {
		t.Errorf("%+v", s)
	}
	if len(s.Tokens) != 3 || s.Tokens[0].OK != 1 || s.Tokens[1].OK != 2 || s.Tokens[2].Unauthorized != 1 {
		t.Errorf("tokens %+v", s.Tokens)
	}
	if len(s.Failures) != 2 || s.Failures[0].Problem == "" || s.Failures[1].Status != 401 {
		t.Errorf("failures %+v", s.Failures)
	}
	recorder := httptest.NewRecorder()
	r.handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/state", http.NoBody))
	told := out.String() + recorder.Body.String()
	for _, secret := range []string{first, second, "forged"} {
		if strings.Contains(told, secret) {
			t.Errorf("it tells a token: %s", told)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 5 {
		t.Errorf("%d lines for three tokens and two failures:\n%s", n, out.String())
	}
}

func TestAReaderOfTheEnvironmentKeepsItsFirstToken(t *testing.T) {
	sim := startProvider(t)
	r, err := newReader(options{name: "r", url: sim.Generic.ResourceURL(), variable: "TOKEN"}, sim.CABundle(), minted(t, sim), new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	r.call(t.Context())
	sim.Generic.RevokeAll()
	r.call(t.Context())
	if s := r.state; s.OK != 1 || s.Unauthorized != 1 || len(s.Tokens) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestMistakesAreTold(t *testing.T) {
	for _, args := range [][]string{
		{}, {"-url", "x"}, {"-url", "x", "-file", "f", "-env", "E"}, {"-file", "f"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	if _, err := newReader(options{}, "no certificate", "", new(bytes.Buffer)); err == nil {
		t.Error("a reader trusts nobody, or everybody")
	}
}
