package provider

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// assertionType is RFC 7523 §2.2's client_assertion_type.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// statement is what an assertion says, and how it is signed.
type statement struct {
	issuer, subject, audience, id string
	claims                        map[string]string
}

// grantAssertion is the assertion of the grant JWTBearer (RFC 7523 §2.1): the credential
// as it is, or one that the private key signs.
func (d *draft) grantAssertion() (string, error) {
	if !d.in.Credentials[CredAssertion].IsZero() {
		return d.credential(CredAssertion)
	}
	s, err := d.statement()
	if err != nil {
		return "", err
	}
	if scopes := d.scopes(); d.resolved.Request.Scopes == ScopesInAssertion && len(scopes) > 0 {
		s.claims["scope"] = strings.Join(scopes, " ")
	}
	return d.signWithKey(s)
}

// clientAssertion is an assertion about the client itself (RFC 7523 §2.2), signed by
// sign. Next to an assertion of the grant, the definition's texts are that one's, and
// the client's own keeps to RFC 7523 §3: issuer and subject are the client.
func (d *draft) clientAssertion(clientID string, sign func(statement) (string, error)) error {
	s, err := d.statement()
	if d.resolved.Grant == JWTBearer {
		s, err = d.plainStatement(clientID)
	}
	if err != nil {
		return err
	}
	signed, err := sign(s)
	if err != nil {
		return err
	}
	d.addClientAssertion(signed)
	return nil
}

func (d *draft) addClientAssertion(assertion string) {
	d.add("client_assertion_type", assertionType)
	d.add("client_assertion", assertion)
}

// statement is what the definition's texts say.
func (d *draft) statement() (statement, error) {
	a := d.resolved.Assertion
	s := statement{id: d.in.ID, claims: make(map[string]string, len(a.Claims)+1)}
	texts := []struct {
		to   *string
		text string
	}{{&s.issuer, a.issuer()}, {&s.subject, a.subject()}, {&s.audience, cmp.Or(a.Audience, d.resolved.TokenURL)}}
	for _, t := range texts {
		filled, err := d.text(t.text)
		if err != nil {
			return statement{}, err
		}
		*t.to = filled
	}
	for _, name := range slices.Sorted(maps.Keys(a.Claims)) {
		filled, err := d.text(a.Claims[name])
		if err != nil {
			return statement{}, err
		}
		s.claims[name] = filled
	}
	return s, nil
}

// plainStatement says who the client is. Its identifier is not that of the assertion
// beside it, since one that comes twice is a replay (RFC 7523 §3).
func (d *draft) plainStatement(clientID string) (statement, error) {
	audience, err := d.text(cmp.Or(d.resolved.Assertion.Audience, d.resolved.TokenURL))
	if err != nil {
		return statement{}, err
	}
	id := d.in.ID
	if id != "" {
		id += "-client"
	}
	return statement{issuer: clientID, subject: clientID, audience: audience, id: id}, nil
}

// signWithSecret signs with HMAC and the secret's bytes as they are, however many.
func (d *draft) signWithSecret(secret string) func(statement) (string, error) {
	return func(s statement) (string, error) {
		name := d.resolved.Assertion.Algorithm
		if !slices.Contains(secretAlgorithms(), name) {
			// Next to an assertion of the grant the algorithm is the private key's.
			name = "HS256"
		}
		header, err := d.keyHeader("")
		if err != nil {
			return "", err
		}
		return d.sign(s, jwt.GetSigningMethod(name), []byte(secret), header)
	}
}

func (d *draft) signWithKey(s statement) (string, error) {
	key, err := d.privateKey()
	if err != nil {
		return "", err
	}
	method, err := key.method(d.resolved.called(CredPrivateKey), d.resolved.Assertion.Algorithm)
	if err != nil {
		return "", err
	}
	header, err := d.keyHeader(key.id)
	if err != nil {
		return "", err
	}
	if d.resolved.Assertion.Thumbprint {
		chain, err := d.chain(key)
		if err != nil {
			return "", err
		}
		header["x5t#S256"] = thumbprint(chain[0])
	}
	return d.sign(s, method, key.Signer, header)
}

// keyHeader is the header kid (RFC 7515 §4.1.4): as the definition says, else the
// credential key_id, else the key's own.
func (d *draft) keyHeader(own string) (map[string]any, error) {
	id, err := own, error(nil)
	if text := d.resolved.Assertion.KeyID; text != "" {
		id, err = d.text(text)
	} else if !d.in.Credentials[CredKeyID].IsZero() {
		id, err = d.credential(CredKeyID)
	}
	if err != nil {
		return nil, err
	}
	header := map[string]any{}
	if id != "" {
		header["kid"] = id
	}
	return header, nil
}

// privateKey reads the credential of that name.
func (d *draft) privateKey() (signingKey, error) {
	return parsePrivateKey(d.resolved.called(CredPrivateKey), d.in.Credentials[CredPrivateKey].Reveal())
}

// sign writes the assertion (RFC 7523 §3). The audience is a string rather than a list,
// because some endpoints accept nothing else. It was issued a little earlier, since
// an assertion from the future is refused by providers whose clock is behind.
func (d *draft) sign(s statement, method jwt.SigningMethod, key any, header map[string]any) (string, error) {
	if d.in.ID == "" || d.in.Now.IsZero() {
		return "", inputf("", "an assertion needs an identifier and the time")
	}
	a := d.resolved.Assertion
	claims := jwt.MapClaims{
		"iss": s.issuer,
		"aud": s.audience,
		"iat": d.in.Now.Add(-a.Backdate.Duration).Unix(),
		"exp": d.in.Now.Add(a.Lifetime.Duration).Unix(),
		"jti": s.id,
	}
	if s.subject != "" {
		claims["sub"] = s.subject
	}
	for name, value := range s.claims {
		claims[name] = value
	}
	unsigned := jwt.NewWithClaims(method, claims)
	maps.Copy(unsigned.Header, header)
	signed, err := unsigned.SignedString(key)
	if err != nil {
		return "", inputf("check the key", "the assertion could not be signed")
	}
	d.dated = true
	return signed, nil
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
