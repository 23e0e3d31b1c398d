package provider

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// minRSABits is RFC 7518 §3.3.
	minRSABits = 2048
	// maxRSABits keeps somebody's odd key from taking seconds of everybody's time.
	maxRSABits = 8192
	// maxPEM is the longest key or chain of certificates in bytes.
	maxPEM = 64 << 10
)

// signingKey is a private key with what it says of itself.
type signingKey struct {
	crypto.Signer
	// algorithm and id are alg and kid of a JWK; empty when it has none.
	algorithm, id string
}

// keyErrors words what is wrong with a key, whose name it knows and whose content it does not.
type keyErrors struct{ called string }

func (e keyErrors) is(problem, fix string) error {
	return inputf(fix, "the credential %s %s", e.called, problem)
}

const keyFormats = "write it in PEM (PKCS #8, PKCS #1 or SEC 1), from -----BEGIN to END----- with its newlines, or as a JWK"

// parsePrivateKey reads PEM or a JWK (RFC 7517). Nothing of it gets into an error.
func parsePrivateKey(called, text string) (signingKey, error) {
	e := keyErrors{called}
	if strings.TrimSpace(text) == "" {
		return signingKey{}, e.is("is missing or empty", "put a value under that key")
	}
	if len(text) > maxPEM {
		return signingKey{}, e.is("is too long to be a private key", keyFormats)
	}
	parse := e.fromPEM
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		parse = e.fromJWK
	}
	key, err := parse(text)
	if err != nil {
		return signingKey{}, err
	}
	return key, e.check(key.Signer)
}

// fromPEM reads the only private key of a PEM file, which may hold certificates and
// EC parameters beside it.
func (e keyErrors) fromPEM(text string) (signingKey, error) {
	var found *pem.Block
	blocks := 0
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if found != nil {
			return signingKey{}, e.is("holds more than one private key", "keep the one that is meant")
		}
		found = block
	}
	switch {
	case found == nil && blocks > 0:
		return signingKey{}, e.is("holds PEM, but no private key", "use the private key, not the certificate or the public key")
	case found == nil && strings.Contains(text, `\n`):
		return signingKey{}, e.is(`holds \n where newlines belong`, "write newlines instead: decode the text if it is out of a JSON document, or let a JSON pointer find it there")
	case found == nil:
		return signingKey{}, e.is("is neither PEM nor a JWK", keyFormats)
	case found.Type == "OPENSSH PRIVATE KEY":
		return signingKey{}, e.is("is in OpenSSH's own format", "convert it: ssh-keygen -p -m PKCS8 -f FILE")
	case found.Type == "ENCRYPTED PRIVATE KEY" || found.Headers["DEK-Info"] != "":
		return signingKey{}, e.is("is encrypted with a passphrase", "decrypt it: openssl pkey -in FILE -out NEW-FILE")
	}
	key, err := e.fromDER(found)
	return signingKey{Signer: key}, err
}

func (e keyErrors) fromDER(block *pem.Block) (crypto.Signer, error) {
	// Before anything is computed with it.
	if n := modulus(block); n != nil {
		if err := e.checkRSA(n); err != nil {
			return nil, err
		}
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, e.is("is of a kind that cannot sign", "use a key of RSA, ECDSA (P-256, P-384, P-521) or Ed25519")
	}
	if err != nil {
		return nil, e.is("cannot be read: it is damaged, or not what its PEM says", keyFormats)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, e.is("is of a kind that cannot sign", "use a key of RSA, ECDSA (P-256, P-384, P-521) or Ed25519")
	}
	return signer, nil
}

// modulus is that of an RSA key in PKCS #1 (RFC 8017 §A.1.2) or PKCS #8; nil for what is none.
func modulus(block *pem.Block) *big.Int {
	der := block.Bytes
	if block.Type == "PRIVATE KEY" {
		var wrapped struct {
			Version   int
			Algorithm struct {
				OID        asn1.ObjectIdentifier
				Parameters asn1.RawValue `asn1:"optional"`
			}
			Key []byte
		}
		if _, err := asn1.Unmarshal(der, &wrapped); err != nil || !wrapped.Algorithm.OID.Equal(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}) {
			return nil
		}
		der = wrapped.Key
	} else if block.Type != "RSA PRIVATE KEY" {
		return nil
	}
	var key struct {
		Version int
		N       *big.Int
	}
	if _, err := asn1.Unmarshal(der, &key); err != nil {
		return nil
	}
	return key.N
}

func (e keyErrors) fromJWK(text string) (signingKey, error) {
	members, ok := parseObject(bytes.TrimSpace([]byte(text)))
	if !ok {
		return signingKey{}, e.is("begins like a JWK and is not JSON, or holds a member twice", keyFormats)
	}
	if _, set := members["keys"]; set {
		return signingKey{}, e.is("is a set of keys", "use the one JWK that is meant")
	}
	switch members["kty"] {
	case nil:
		return signingKey{}, e.is("is JSON, but no JWK", "use the JWK or the PEM itself; a JSON pointer behind # finds it inside another document")
	case "oct":
		return signingKey{}, e.is("is a symmetric JWK", "use the private key of a pair; for a secret set clientAuthentication to SecretJWT")
	case "RSA":
		encoded, _ := members["n"].(string)
		n, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil {
			return signingKey{}, e.is("is a JWK that cannot be read", keyFormats)
		}
		if err := e.checkRSA(new(big.Int).SetBytes(n)); err != nil {
			return signingKey{}, err
		}
	}
	if members["use"] == "enc" {
		return signingKey{}, e.is("is a JWK for encryption", "use the one for signing (RFC 7517 §4.2)")
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal([]byte(text), &jwk); err != nil || !jwk.Valid() {
		return signingKey{}, e.is("is a JWK that cannot be read", "use a key of RSA, ECDSA (P-256, P-384, P-521) or Ed25519 (RFC 7518 §6, RFC 8037 §2)")
	}
	signer, ok := jwk.Key.(crypto.Signer)
	if !ok {
		return signingKey{}, e.is("is the public half of a JWK", "use the one that holds d too")
	}
	return signingKey{Signer: signer, algorithm: jwk.Algorithm, id: jwk.KeyID}, nil
}

func (e keyErrors) checkRSA(n *big.Int) error {
	if n.BitLen() < minRSABits {
		return e.is("is an RSA key of less than 2048 bits (RFC 7518 §3.3)", "make a longer one, and register its public half with the provider")
	}
	if n.BitLen() > maxRSABits {
		return e.is("is an RSA key of more than 8192 bits", "make a shorter one, and register its public half with the provider")
	}
	return nil
}

// check refuses keys that are too weak, and those whose halves do not belong together,
// whose signatures nobody could verify.
func (e keyErrors) check(key crypto.Signer) error {
	consistent := false
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if err := e.checkRSA(k.N); err != nil {
			return err
		}
		consistent = k.Validate() == nil
	case *ecdsa.PrivateKey:
		if !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, k.Curve) {
			return e.is("is on a curve that signs no JWT", "use P-256, P-384 or P-521 (RFC 7518 §3.4)")
		}
		private, err := k.ECDH()
		if err == nil {
			public, err := k.PublicKey.ECDH()
			consistent = err == nil && private.PublicKey().Equal(public)
		}
	case ed25519.PrivateKey:
		consistent = len(k) == ed25519.PrivateKeySize && ed25519.NewKeyFromSeed(k.Seed()).Equal(k)
	default:
		return e.is("is of a kind that cannot sign", "use a key of RSA, ECDSA (P-256, P-384, P-521) or Ed25519")
	}
	if !consistent {
		return e.is("is damaged: its parts do not belong together", keyFormats)
	}
	return nil
}

// algorithms lists what the key can sign with; the first is its own choice.
func (k signingKey) algorithms() []string {
	switch key := k.Signer.(type) {
	case *rsa.PrivateKey:
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PrivateKey:
		switch key.Curve {
		case elliptic.P256():
			return []string{"ES256"}
		case elliptic.P384():
			return []string{"ES384"}
		}
		return []string{"ES512"}
	default:
		return []string{"EdDSA"}
	}
}

// method is how the key signs: as asked, else as it says itself, else by its type.
func (k signingKey) method(called, asked string) (jwt.SigningMethod, error) {
	able := k.algorithms()
	name := able[0]
	fix := "set assertion.algorithm to one of " + strings.Join(able, ", ") + ", or use another key"
	switch {
	case asked != "":
		name = asked
	case k.algorithm != "":
		name = k.algorithm
	}
	if !slices.Contains(able, name) {
		if asked == "" {
			return nil, inputf(fix, "the credential %s is a JWK whose alg is not for signing with such a key", called)
		}
		return nil, inputf(fix, "the credential %s is a key that cannot sign with %s", called, asked)
	}
	return jwt.GetSigningMethod(name), nil
}
