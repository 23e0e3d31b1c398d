package provider

import (
	"cmp"
	"maps"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// assertionType is RFC 7523 §2.2's client_assertion_type.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// addAssertion authenticates by client_secret_jwt: an assertion about the client
// itself (RFC 7523 §3), signed with HS256 and the secret's bytes as they are. The
// audience is the token URL, as a string rather than a list, because some
// endpoints accept nothing else. client_id stays out: it is the assertion's subject.
func (d *draft) addAssertion(clientID, secret string) error {
	if d.in.ID == "" || d.in.Now.IsZero() {
		return inputf("", "an assertion needs an identifier and the time")
	}
	claims := jwt.MapClaims{
		"iss": clientID,
		"sub": clientID,
		"aud": d.resolved.TokenURL,
		"iat": d.in.Now.Unix(),
		"exp": d.in.Now.Add(d.resolved.Assertion.Lifetime.Duration).Unix(),
		"jti": d.in.ID,
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	if err != nil {
		return inputf("", "the assertion could not be signed")
	}
	d.add("client_assertion_type", assertionType)
	d.add("client_assertion", signed)
	return nil
}

// issuer is the claim iss, with its holes.
func (a AssertionFormat) issuer() string { return cmp.Or(a.Issuer, hole(CredClientID)) }

// subject is the claim sub, with its holes; empty for none.
func (a AssertionFormat) subject() string {
	if a.Subject == noSubject {
		return ""
	}
	return cmp.Or(a.Subject, a.issuer())
}

// noSubject, as a subject, leaves the claim out.
const noSubject = "-"

func secretAlgorithms() []string { return []string{"HS256", "HS384", "HS512"} }

func keyAlgorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// signsGrant claims that the private key signs the assertion of the grant.
func (d Definition) signsGrant(readyMade bool) bool { return d.Grant == JWTBearer && !readyMade }

// signsWithKey claims that the private key signs an assertion at all.
func (d Definition) signsWithKey(readyMade bool) bool {
	return d.signsGrant(readyMade) || d.ClientAuthentication == PrivateKeyJWT
}

// assertionTexts lists the texts of the assertions that are signed.
func (d Definition) assertionTexts(readyMade bool) []string {
	signsClient := d.ClientAuthentication == PrivateKeyJWT || d.ClientAuthentication == SecretJWT
	if !signsClient && !d.signsGrant(readyMade) {
		return nil
	}
	a := d.Assertion
	texts := []string{a.Audience, a.KeyID}
	if d.Grant == JWTBearer && readyMade {
		// The client's own assertion is about the client and nothing else.
		return texts
	}
	texts = append(texts, a.issuer(), a.subject())
	for _, name := range slices.Sorted(maps.Keys(a.Claims)) {
		texts = append(texts, a.Claims[name])
	}
	return texts
}
