package providersim

import (
	"crypto/rsa"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signedAssertion is a JWT that a client signed with RS256, taken apart. What its
// claims have to be is each vendor's own business.
type signedAssertion struct {
	header    map[string]any
	claims    jwt.MapClaims
	signed    string
	signature []byte
}

// readAssertion takes a compact JWS (RFC 7515 §7.1) apart, without believing it;
// false for one that is malformed or not RS256.
func readAssertion(compact string) (signedAssertion, bool) {
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithJSONNumber(), jwt.WithStrictDecoding())
	token, parts, err := parser.ParseUnverified(compact, claims)
	if err != nil || token.Header["alg"] != jwt.SigningMethodRS256.Alg() {
		return signedAssertion{}, false
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil {
		return signedAssertion{}, false
	}
	return signedAssertion{
		header: token.Header, claims: claims, signed: strings.Join(parts[:2], "."), signature: signature,
	}, true
}

func (a signedAssertion) signedBy(key *rsa.PublicKey) bool {
	return jwt.SigningMethodRS256.Verify(a.signed, a.signature, key) == nil
}

// text is a claim that is a string; empty when it is not there, or none.
func (a signedAssertion) text(claim string) string {
	s, _ := a.claims[claim].(string)
	return s
}

// has tells whether all the required claims are there, and no others but the optional.
func (a signedAssertion) has(required, optional []string) bool {
	for _, name := range required {
		if _, ok := a.claims[name]; !ok {
			return false
		}
	}
	for name := range maps.Keys(a.claims) {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			return false
		}
	}
	return true
}

// headed tells whether the header has typ JWT and beside alg no other members than these.
func (a signedAssertion) headed(members ...string) bool {
	for name := range a.header {
		if name != "alg" && name != "typ" && !slices.Contains(members, name) {
			return false
		}
	}
	return a.header["typ"] == "JWT"
}

// instant is a claim that is a NumericDate of whole seconds (RFC 7519 §2).
func (a signedAssertion) instant(claim string) (time.Time, bool) {
	at, err := instant(a.claims[claim])
	return at, err == nil
}
