package providersim

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// proof is a JWT that a client presents (RFC 7523 §3), taken apart and not believed yet.
type proof struct {
	header, claims map[string]any
	signed         string
	signature      []byte
}

// flaw is why a proof is refused; empty when it is not. Each provider has its own words for it.
type flaw string

const (
	flawless      flaw = ""
	flawForm      flaw = "the JWT is malformed"
	flawAlgorithm flaw = "alg is not one that is taken"
	flawHeader    flaw = "the header is not as it must be"
	flawSignature flaw = "the signature does not verify"
	flawClaims    flaw = "a claim is missing, of a wrong type, or unexpected"
	flawIssuer    flaw = "iss and sub are not what they must be"
	flawAudience  flaw = "aud is not what it must be"
	flawExpired   flaw = "exp is over"
	flawDistant   flaw = "exp is too far away"
	flawEarly     flaw = "iat or nbf lies in the future"
	flawOld       flaw = "iat lies too far in the past"
	flawReplay    flaw = "jti was seen before"
)

// readProof takes a compact JWS (RFC 7515 §7.1) apart. Base64url has no padding and no
// spare bits, and a JSON object has each member once (RFC 7515 §4).
func readProof(compact string) (p proof, ok bool) {
	parts := strings.Split(compact, ".")
	if len(parts) != 3 {
		return proof{}, false
	}
	header, err := readJOSE(parts[0])
	if err != nil {
		return proof{}, false
	}
	claims, err := readJOSE(parts[1])
	if err != nil {
		return proof{}, false
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(signature) == 0 {
		return proof{}, false
	}
	return proof{header: header, claims: claims, signed: parts[0] + "." + parts[1], signature: signature}, true
}

func readJOSE(encoded string) (map[string]any, error) {
	content, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	if err := membersOnce(content); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		return nil, fmt.Errorf("decoding: %w", err)
	}
	return members, nil
}

// membersOnce refuses everything but one JSON object whose members have different names.
func membersOnce(content []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	if opening, err := decoder.Token(); err != nil || opening != json.Delim('{') {
		return errors.New("not an object")
	}
	seen := map[any]bool{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil || seen[name] {
			return errors.New("a member that is there twice")
		}
		seen[name] = true
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return fmt.Errorf("decoding a member: %w", err)
		}
	}
	if _, err := decoder.Token(); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}

// text is a claim that must be a string; empty when it is not.
func (p proof) text(claim string) string {
	s, _ := p.claims[claim].(string)
	return s
}

// keyID is the header's kid; known is false when it is there and is not text.
func (p proof) keyID() (kid string, known bool) {
	value, there := p.header["kid"]
	kid, known = value.(string)
	return kid, known || !there
}

// verify checks the signature with the public key of whoever is said to have signed.
func (p proof) verify(key crypto.PublicKey, algorithms []string) flaw {
	name, _ := p.header["alg"].(string)
	if !slices.Contains(algorithms, name) {
		return flawAlgorithm
	}
	method := jwt.GetSigningMethod(name)
	if method == nil || method.Verify(p.signed, p.signature, key) != nil {
		return flawSignature
	}
	return flawless
}

// terms are what one endpoint demands of a proof, besides its signature.
type terms struct {
	// header lists what it must hold beside alg, with the values that are demanded
	// ("" for any), and kid where optionalKeyID says so.
	header        map[string]string
	optionalKeyID bool
	// required and optional are the claims that there may be; others are refused
	// unless anyClaim.
	required, optional []string
	anyClaim           bool
	// audiences are those that name this endpoint. The claim is one string, or, where
	// listed, a list with one element.
	audiences []string
	listed    bool
	// leeway is how far apart the clocks may be.
	leeway time.Duration
	// maxLife is the most from now to exp, and maxAge from iat to now; 0 for no limit.
	maxLife, maxAge time.Duration
}

// judge looks at everything but signature, iss, sub and jti's freshness.
func (t terms) judge(p proof, now time.Time) flaw {
	if !t.headerFits(p.header) {
		return flawHeader
	}
	if !t.claimsFit(p.claims) {
		return flawClaims
	}
	if !t.audienceFits(p.claims["aud"]) {
		return flawAudience
	}
	return t.timeFits(p.claims, now)
}

func (t terms) headerFits(header map[string]any) bool {
	for name, want := range t.header {
		got, ok := header[name].(string)
		if !ok || got == "" || (want != "" && got != want) {
			return false
		}
	}
	for name := range header {
		_, demanded := t.header[name]
		if !demanded && name != "alg" && (name != "kid" || !t.optionalKeyID) {
			return false
		}
	}
	return true
}

func (t terms) claimsFit(claims map[string]any) bool {
	for _, name := range t.required {
		if value, ok := claims[name]; !ok || value == "" {
			return false
		}
	}
	if t.anyClaim {
		return true
	}
	for name := range claims {
		if !slices.Contains(t.required, name) && !slices.Contains(t.optional, name) {
			return false
		}
	}
	return true
}

func (t terms) audienceFits(claim any) bool {
	if list, ok := claim.([]any); ok && t.listed && len(list) == 1 {
		claim = list[0]
	}
	audience, ok := claim.(string)
	return ok && slices.Contains(t.audiences, audience)
}

func (t terms) timeFits(claims map[string]any, now time.Time) flaw {
	at := map[string]time.Time{}
	for _, name := range []string{"exp", "iat", "nbf"} {
		if _, there := claims[name]; !there {
			continue
		}
		moment, err := instant(claims[name])
		if err != nil {
			return flawClaims
		}
		at[name] = moment
	}
	if exp, ok := at["exp"]; ok && !now.Before(exp.Add(t.leeway)) {
		return flawExpired
	}
	if exp, ok := at["exp"]; ok && t.maxLife > 0 && exp.Sub(now) > t.maxLife+t.leeway {
		return flawDistant
	}
	if at["iat"].After(now.Add(t.leeway)) || at["nbf"].After(now.Add(t.leeway)) {
		return flawEarly
	}
	if iat, ok := at["iat"]; ok && t.maxAge > 0 && now.Sub(iat) > t.maxAge {
		return flawOld
	}
	return flawless
}

// spent remembers each jti for as long as a replay could pass as fresh.
type spent map[string]time.Time

// spend uses a jti up; false when it was used before. owner is whose it is: two
// issuers may happen on the same one (RFC 7519 §4.1.7).
func (s spent) spend(owner, jti string, now, until time.Time) bool {
	maps.DeleteFunc(s, func(_ string, until time.Time) bool { return !now.Before(until) })
	key := owner + " " + jti
	if _, replayed := s[key]; replayed || jti == "" {
		return false
	}
	s[key] = until
	return true
}

// keyring holds public keys by kid.
type keyring map[string]crypto.PublicKey

// find is the key of that kid, or, without one, the only key that there is.
func (k keyring) find(kid string) (crypto.PublicKey, bool) {
	if kid == "" && len(k) == 1 {
		for _, key := range k {
			return key, true
		}
	}
	key, ok := k[kid]
	return key, ok
}

// asymmetric lists the algorithms of RFC 7518 §3.1 and RFC 8037 that have a public key.
func asymmetric() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// ownClaims are those of a client assertion: iat may be left out (RFC 7523 §3).
func ownClaims() (required, optional []string) {
	return []string{"iss", "sub", "aud", "exp", "jti"}, []string{"iat", "nbf"}
}

// trusted is somebody else's issuer of tokens, such as a cluster (RFC 7521 §4.2).
type trusted map[string]keyring

func (t trusted) add(issuer, keyID string, key crypto.PublicKey) {
	if t[issuer] == nil {
		t[issuer] = keyring{}
	}
	t[issuer][keyID] = key
}

// verify finds out who signed; the issuer is known from then on.
func (t trusted) verify(p proof, algorithms []string) flaw {
	keys, ok := t[p.text("iss")]
	if !ok {
		return flawIssuer
	}
	kid, ok := p.keyID()
	if !ok {
		return flawHeader
	}
	key, ok := keys.find(kid)
	if !ok {
		return flawSignature
	}
	return p.verify(key, algorithms)
}

// proofAsked tells whether the form is about a client assertion at all.
func proofAsked(has func(string) bool) bool {
	return has("client_assertion") || has("client_assertion_type")
}
