package providersim

import (
	"crypto/rand"
	"crypto/rsa"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What the simulated Google grants from the start. A service account has no key
// until SetServiceAccount gives it one.
const (
	GoogleClientEmail = "demo@demo-project.iam.gserviceaccount.com"
	GoogleKeyID       = "370ab79b4513eb9bad7c9bd16a95cb76b5b2a56a"
	// GoogleScope is the scope of the documentation's example that is granted.
	GoogleScope = "https://www.googleapis.com/auth/devstorage.read_only"
)

const (
	googleTokenPath = "/token"
	// googleMaxLife is the documentation's "maximum of 1 hour after the issued time".
	googleMaxLife = time.Hour
)

// GoogleServiceAccount is Google's token endpoint for service accounts.
//
// By developers.google.com/identity/protocols/oauth2/service-account (HTTP/REST): the
// two form fields; the header alg RS256, typ and kid; the claims iss, scope, aud, exp and
// iat, and sub only for domain-wide delegation; exp at most an hour after iat; and the
// errors invalid_grant, invalid_scope and unauthorized_client with their descriptions.
// That a missing scope is invalid_scope is in googleapis/google-oauth-java-client#602.
// The documentation is silent on jti, which is therefore taken and not looked at, on the
// clock skew that is forgiven (none here), and on what answers other methods and paths.
type GoogleServiceAccount struct {
	*Host
	accounts map[string]googleKey
	scopes   []string
	subjects []string
}

type googleKey struct {
	id     string
	public *rsa.PublicKey
}

func newGoogleServiceAccount(h *Host) *GoogleServiceAccount {
	p := &GoogleServiceAccount{
		Host:     h,
		accounts: map[string]googleKey{},
		scopes:   []string{GoogleScope, "https://www.googleapis.com/auth/cloud-platform"},
	}
	h.answer, h.kindOf = p.judgeToken, kindByWire
	return p
}

// TokenURL is the token endpoint.
func (p *GoogleServiceAccount) TokenURL() string { return p.at(googleTokenPath) }

// SetServiceAccount adds a service account, or changes its key.
func (p *GoogleServiceAccount) SetServiceAccount(email, keyID string, key *rsa.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accounts[email] = googleKey{id: keyID, public: key}
}

// Delegate lets every service account act for that user (domain-wide delegation).
func (p *GoogleServiceAccount) Delegate(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subjects = append(p.subjects, user)
}

func (p *GoogleServiceAccount) judgeToken(q request) reply {
	if q.URL.Path != googleTokenPath || q.Method != http.MethodPost {
		return refusal(http.StatusNotFound, "<html><title>Error 404 (Not Found)!!1</title></html>")
	}
	form, ok := q.form()
	if !ok || !q.isForm() || q.hasQuery() || q.Header.Get("Authorization") != "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "Bad Request")
	}
	if form.Get("grant_type") != string(KindJWTBearer) {
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "Invalid grant_type: "+form.Get("grant_type"))
	}
	if form, ok = q.exactly("grant_type", "assertion"); !ok {
		return oauthError(http.StatusBadRequest, "invalid_request", "Bad Request")
	}
	return p.judgeAssertion(q, form.Get("assertion"))
}

func (p *GoogleServiceAccount) judgeAssertion(q request, compact string) reply {
	a, ok := readAssertion(compact)
	if !ok || !a.headed("kid") {
		return invalidGrant("Bad Request")
	}
	key, ok := p.accounts[a.text("iss")]
	if !ok {
		return invalidGrant("Invalid grant: account not found")
	}
	if a.header["kid"] != key.id || !a.signedBy(key.public) {
		return invalidGrant("Invalid JWT Signature.")
	}
	if a.text("aud") != p.TokenURL() {
		return invalidGrant("Invalid JWT: Failed audience check. The right audience is " + p.TokenURL())
	}
	if !timely(a, q.now, googleMaxLife) {
		return invalidGrant("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. " +
			"Check your iat and exp values in the JWT claim.")
	}
	if !a.has([]string{"iss", "aud", "iat", "exp"}, []string{"scope", "sub", "jti"}) {
		return invalidGrant("Bad Request")
	}
	if _, delegated := a.claims["sub"]; delegated && !slices.Contains(p.subjects, a.text("sub")) {
		return oauthError(http.StatusUnauthorized, "unauthorized_client",
			"Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.")
	}
	return p.grantToken(q, a.text("scope"))
}

// timely tells whether iat is not in the future and exp is, at most so long after iat.
func timely(a signedAssertion, now time.Time, most time.Duration) bool {
	issued, ok := a.instant("iat")
	expires, also := a.instant("exp")
	return ok && also && !issued.After(now) && now.Before(expires) && expires.Sub(issued) <= most
}

func (p *GoogleServiceAccount) grantToken(q request, scope string) reply {
	// Not strings.Fields: scopes are separated by exactly one space.
	for s := range strings.SplitSeq(scope, " ") {
		if !slices.Contains(p.scopes, s) {
			return oauthError(http.StatusBadRequest, "invalid_scope", "Invalid OAuth scope or ID token audience provided.")
		}
	}
	token := "ya29.c." + rand.Text() + rand.Text()
	p.book(q, token, grant{expires: q.now.Add(p.lifetime)})
	return jsonReply(http.StatusOK, map[string]any{
		"access_token": token, "scope": scope, "token_type": "Bearer", "expires_in": seconds(p.lifetime),
	})
}

func invalidGrant(description string) reply {
	return oauthError(http.StatusBadRequest, "invalid_grant", description)
}
