package provider

import (
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
