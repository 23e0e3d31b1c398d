package provider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/token"
)

func TestAReadingTellsWhichPointerFoundWhat(t *testing.T) {
	definition := provider.Definition{
		TokenURL: "https://a.example/token",
		Response: provider.ResponseFormat{
			AccessToken: []string{"/access_token", "/data/token"}, ExpiresIn: []string{"/expires_in", "/data/ttl"}, Error: []string{"/error", "/errors"},
		},
	}
	resolved, err := definition.Resolve(nil, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	const jwt = "eyJhbGciOiJub25lIn0.eyJleHAiOjE3OTUyNjYwMDB9.c2ln" // exp 2026-11-21T13:00:00Z
	for body, want := range map[string]provider.Reading{
		`{"access_token":"a","expires_in":300,"token_type":"bearer","scope":"x","refresh_token":"r","refresh_token_expires_in":"60"}`: {
			Readable: true, AccessToken: "/access_token", TokenType: "/token_type", Expiry: "/expires_in", Scope: "/scope",
			RefreshToken: "/refresh_token", RefreshExpiry: "/refresh_token_expires_in",
		},
		`{"data":{"token":"a","ttl":"300"},"expires_in":0}`:             {Readable: true, AccessToken: "/data/token", Expiry: "/data/ttl"},
		`{"access_token":"a","expires_at":"2026-11-21T12:30:00Z"}`:      {Readable: true, AccessToken: "/access_token", Expiry: "/expires_at"},
		`{"access_token":"` + jwt + `"}`:                                {Readable: true, AccessToken: "/access_token", JWT: true},
		`{"access_token":"a","expires_in":300,"errors":[{"code":"x"}]}`: {Readable: true, AccessToken: "/access_token", Expiry: "/expires_in", Error: "/errors"},
		`{"access_token":"a","error":null,"errors":[],"expires_in":1}`:  {Readable: true, AccessToken: "/access_token", Expiry: "/expires_in"},
		`access_token=a&expires_in=300`:                                 {Readable: true, AccessToken: "/access_token", Expiry: "/expires_in"},
		`<html>`:                                                        {},
	} {
		sent := time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)
		answer := provider.Answer{Status: 200, Header: http.Header{}, Body: []byte(body), SentAt: sent, ReceivedAt: sent}
		got := resolved.Read(answer)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%s", body, diff)
		}
		// It must never tell another story than Decode.
		tok, err := resolved.Decode(provider.Request{Grant: provider.ClientCredentials}, answer)
		granted := got.Readable && got.Error == "" && got.AccessToken != ""
		if (err == nil) != granted {
			t.Errorf("%s: Decode says %v", body, err)
		}
		if err != nil {
			continue
		}
		stated := tok.ExpirySource == token.ExpiresIn || tok.ExpirySource == token.ExpiresAt
		if stated != (got.Expiry != "") || tok.Refresh.IsZero() != (got.RefreshToken == "") || (len(tok.Scopes) == 0) != (got.Scope == "") {
			t.Errorf("%s: Decode found %s, %v", body, tok.ExpirySource, tok.Scopes)
		}
	}
}
