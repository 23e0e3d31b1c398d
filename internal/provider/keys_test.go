package provider

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// The keys of these tests are made once: those of RSA take their time.
var (
	rsaKey      = sync.OnceValue(func() *rsa.PrivateKey { return made(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSAKey = sync.OnceValue(func() *rsa.PrivateKey { return made(rsa.GenerateKey(rand.Reader, 2048)) })
	weakRSAKey  = sync.OnceValue(func() *rsa.PrivateKey { return made(rsa.GenerateKey(rand.Reader, 1024)) })
	p256Key     = sync.OnceValue(func() *ecdsa.PrivateKey { return made(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384Key     = sync.OnceValue(func() *ecdsa.PrivateKey { return made(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521Key     = sync.OnceValue(func() *ecdsa.PrivateKey { return made(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	ed25519Key  = sync.OnceValue(func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return made(key, err)
	})
)

func made[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(key any) string { return pemOf("PRIVATE KEY", made(x509.MarshalPKCS8PrivateKey(key))) }

func jwk(key any, more ...string) string {
	k := jose.JSONWebKey{Key: key}
	for i := 0; i < len(more); i += 2 {
		switch more[i] {
		case "alg":
			k.Algorithm = more[i+1]
		case "kid":
			k.KeyID = more[i+1]
		case "use":
			k.Use = more[i+1]
		}
	}
	return string(made(json.Marshal(k)))
}

// chainOf is a certificate for the key, and one of an authority behind it.
func chainOf(key crypto.Signer, notAfter time.Time) string {
	authority := p256Key()
	root := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true}
	own := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: notAfter}
	der := made(x509.CreateCertificate(rand.Reader, own, root, key.Public(), authority))
	rootDER := made(x509.CreateCertificate(rand.Reader, root, root, authority.Public(), authority))
	return pemOf("CERTIFICATE", der) + pemOf("CERTIFICATE", rootDER)
}

// edited changes members of a JSON object.
func edited(t testing.TB, text string, change func(map[string]any)) string {
	t.Helper()
	members := map[string]any{}
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatal(err)
	}
	change(members)
	return string(made(json.Marshal(members)))
}

func TestPrivateKeysAreReadInEveryFormat(t *testing.T) {
	sec1 := pemOf("EC PRIVATE KEY", made(x509.MarshalECPrivateKey(p384Key())))
	tests := []struct {
		name, text string
		public     crypto.PublicKey
		alg, kid   string
	}{
		{"PKCS #8 with RSA", pkcs8(rsaKey()), rsaKey().Public(), "", ""},
		{"PKCS #8 with P-256", pkcs8(p256Key()), p256Key().Public(), "", ""},
		{"PKCS #8 with Ed25519", pkcs8(ed25519Key()), ed25519Key().Public(), "", ""},
		{"PKCS #1", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), rsaKey().Public(), "", ""},
		{"SEC 1", sec1, p384Key().Public(), "", ""},
		{"SEC 1 behind its parameters, with a certificate", pemOf("EC PARAMETERS", []byte("x")) + sec1 + chainOf(p384Key(), sent()), p384Key().Public(), "", ""},
		{"a JWK of RSA", jwk(rsaKey(), "alg", "PS384", "kid", "k1", "use", "sig"), rsaKey().Public(), "PS384", "k1"},
		{"a JWK of P-521", "\n " + jwk(p521Key()) + "\n", p521Key().Public(), "", ""},
		{"a JWK of Ed25519", jwk(ed25519Key(), "kid", "k2"), ed25519Key().Public(), "", "k2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := parsePrivateKey("private_key", tt.text)
			if err != nil {
				t.Fatal(err)
			}
			public, _ := key.Public().(interface{ Equal(crypto.PublicKey) bool })
			if !public.Equal(tt.public) || key.algorithm != tt.alg || key.id != tt.kid {
				t.Errorf("got a key of alg %q and kid %q, or another key", key.algorithm, key.id)
			}
		})
	}
}

func TestPrivateKeysThatCannotSignAreRefusedAndNotShown(t *testing.T) {
	x25519 := made(ecdh.X25519().GenerateKey(rand.Reader))
	p224 := made(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	legacy := string(pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x"),
	}))
	huge := new(big.Int).Lsh(big.NewInt(1), 20000)
	hugeJWK := edited(t, jwk(rsaKey()), func(m map[string]any) { m["n"] = base64.RawURLEncoding.EncodeToString(huge.Bytes()) })
	foreign := func(key, other any) string {
		return edited(t, jwk(key), func(m map[string]any) {
			edited(t, jwk(other), func(o map[string]any) { m["d"] = o["d"] })
		})
	}
	otherP256 := made(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	_, otherEd25519, _ := ed25519.GenerateKey(rand.Reader)
	der := made(x509.MarshalPKCS8PrivateKey(rsaKey()))
	tests := []struct{ name, text, mention string }{
		{"nothing", "", "missing or empty"},
		{"whitespace", "\n\n", "missing or empty"},
		{"words", "hunter2 hunter2", "neither PEM nor a JWK"},
		{"too much", strings.Repeat("a", maxPEM+1), "too long"},
		{"newlines as in JSON", strings.ReplaceAll(pkcs8(p256Key()), "\n", `\n`), `\n where newlines`},
		{"no newlines", strings.ReplaceAll(pkcs8(p256Key()), "\n", " "), "neither PEM nor a JWK"},
		{"a certificate", chainOf(rsaKey(), sent()), "no private key"},
		{"a public key", pemOf("PUBLIC KEY", made(x509.MarshalPKIXPublicKey(rsaKey().Public()))), "no private key"},
		{"two keys", pkcs8(rsaKey()) + pkcs8(p256Key()), "more than one"},
		{"an encrypted key", pemOf("ENCRYPTED PRIVATE KEY", der), "passphrase"},
		{"an encrypted key of old", legacy, "passphrase"},
		{"OpenSSH's format", pemOf("OPENSSH PRIVATE KEY", der), "OpenSSH"},
		{"another kind", pemOf("DSA PRIVATE KEY", der), "kind that cannot sign"},
		{"half a key", pemOf("PRIVATE KEY", der[:len(der)/2]), "damaged"},
		{"half a key of PKCS #1", pemOf("RSA PRIVATE KEY", der), "damaged"},
		{"a key under another name", pemOf("EC PRIVATE KEY", der), "damaged"},
		{"a short RSA key", pkcs8(weakRSAKey()), "less than 2048 bits"},
		{"a short RSA key in PKCS #1", pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weakRSAKey())), "less than 2048 bits"},
		{"a short RSA key in a JWK", jwk(weakRSAKey()), "less than 2048 bits"},
		{"a huge RSA key", hugeJWK, "more than 8192 bits"},
		{"a key that only agrees", pkcs8(x25519), "kind that cannot sign"},
		{"a curve without an algorithm", pkcs8(p224), "curve"},
		{"a symmetric JWK", jwk([]byte("0123456789abcdef0123456789abcdef")), "symmetric"},
		{"a public JWK", jwk(p256Key().Public()), "public half"},
		{"a public JWK of RSA", jwk(rsaKey().Public()), "public half"},
		{"a set of JWKs", `{"keys":[` + jwk(p256Key()) + `]}`, "set of keys"},
		{"a JWK for encryption", jwk(p256Key(), "use", "enc"), "encryption"},
		{"other JSON", `{"type":"service_account","private_key":"hunter2"}`, "no JWK"},
		{"broken JSON", `{"kty":"RSA"`, "not JSON"},
		{"a JWK with a member twice", `{"kty":"EC","kty":"RSA"}`, "twice"},
		{"a JWK of another curve", edited(t, jwk(p256Key()), func(m map[string]any) { m["crv"] = "secp256k1" }), "cannot be read"},
		{"a JWK whose n is no base64", edited(t, jwk(rsaKey()), func(m map[string]any) { m["n"] = "hunter2!" }), "cannot be read"},
		{"a JWK of two halves of P-256", foreign(p256Key(), otherP256), "do not belong together"},
		{"a JWK of two halves of Ed25519", foreign(ed25519Key(), otherEd25519), "JWK"},
		{"a JWK of two halves of RSA", foreign(rsaKey(), otherRSAKey()), "RSA"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parsePrivateKey("private_key (or tls.key)", tt.text)
			e := wantKind(t, err, Input)
			wantText(t, err, tt.mention, "private_key (or tls.key)")
			if e.Fix == "" {
				t.Error("it does not say what to do")
			}
			if leaks(err.Error(), tt.text) {
				t.Errorf("%q shows the key", err)
			}
		})
	}
}

// leaks claims that a message repeats something of a key that is longer than a word.
func leaks(message, key string) bool {
	for _, part := range strings.FieldsFunc(key, func(r rune) bool { return strings.ContainsRune("\n\"{},: -", r) }) {
		if len(part) > 11 && strings.Contains(message, part) {
			return true
		}
	}
	return false
}

func TestAnAlgorithmFitsItsKey(t *testing.T) {
	tests := []struct {
		name, text, asked, want, mention string
	}{
		{"RSA", pkcs8(rsaKey()), "", "RS256", ""},
		{"RSA with PSS", pkcs8(rsaKey()), "PS512", "PS512", ""},
		{"P-256", pkcs8(p256Key()), "", "ES256", ""},
		{"P-384", pkcs8(p384Key()), "ES384", "ES384", ""},
		{"P-521", pkcs8(p521Key()), "", "ES512", ""},
		{"Ed25519", pkcs8(ed25519Key()), "", "EdDSA", ""},
		{"a JWK's own", jwk(rsaKey(), "alg", "PS256"), "", "PS256", ""},
		{"the definition before the JWK", jwk(rsaKey(), "alg", "PS256"), "RS384", "RS384", ""},
		{"ECDSA asked of RSA", pkcs8(rsaKey()), "ES256", "", "cannot sign with ES256; set assertion.algorithm to one of RS256"},
		{"RSA asked of ECDSA", pkcs8(p256Key()), "RS256", "", "cannot sign with RS256"},
		{"another curve's", pkcs8(p256Key()), "ES384", "", "cannot sign with ES384; set assertion.algorithm to one of ES256"},
		{"a JWK's own that does not sign", jwk(rsaKey(), "alg", "RSA-OAEP"), "", "", "alg is not for signing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			key, err := parsePrivateKey("private_key", tt.text)
			if err != nil {
				t.Fatal(err)
			}
			method, err := key.method("private_key", tt.asked)
			if tt.want == "" {
				wantKind(t, err, Input)
				wantText(t, err, tt.mention)
				return
			}
			if err != nil || method.Alg() != tt.want {
				t.Errorf("got %v (%v), want %s", method, err, tt.want)
			}
		})
	}
}

// Whatever a Secret holds: no panic, no weak key, and nothing of it in an error.
func FuzzPrivateKeys(f *testing.F) {
	f.Add([]byte(pkcs8(p256Key())), false)
	f.Add([]byte(pkcs8(ed25519Key())), false)
	f.Add([]byte(jwk(p384Key(), "alg", "ES384", "kid", "a")), false)
	f.Add([]byte(jwk(ed25519Key())), false)
	f.Add([]byte(jwk(weakRSAKey())), false)
	f.Add([]byte(jwk(rsaKey())), false)
	f.Add([]byte(pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weakRSAKey()))), false)
	f.Add(made(x509.MarshalPKCS8PrivateKey(rsaKey())), true)
	f.Add(made(x509.MarshalPKCS8PrivateKey(p521Key())), true)
	f.Fuzz(func(t *testing.T, data []byte, der bool) {
		text := string(data)
		if der {
			text = pemOf("PRIVATE KEY", data)
		}
		key, err := parsePrivateKey("private_key", text)
		if err != nil {
			wantKind(t, err, Input)
			if leaks(err.Error(), strings.ReplaceAll(text, "KEY", "")) {
				t.Errorf("%q shows the key", err)
			}
			return
		}
		if k, ok := key.Signer.(*rsa.PrivateKey); ok && (k.N.BitLen() < 2048 || k.N.BitLen() > 8192) {
			t.Errorf("an RSA key of %d bits was taken", k.N.BitLen())
		}
		able := key.algorithms()
		if _, err := key.method("private_key", able[0]); err != nil {
			t.Errorf("a key that was taken cannot sign: %v", err)
		}
	})
}

func TestChainsAreReadStrictly(t *testing.T) {
	own := chainOf(rsaKey(), sent().Add(time.Hour))
	chain, err := parseChain("certificate", "subject=x\n"+own)
	if err != nil || len(chain) != 2 {
		t.Fatalf("got %d certificates (%v), want 2", len(chain), err)
	}
	for name, tt := range map[string]struct{ text, mention string }{
		"nothing":            {"", "missing or empty"},
		"words":              {"hunter2", "holds no certificate"},
		"a key":              {own + pkcs8(rsaKey()), "not a certificate"},
		"half a certificate": {pemOf("CERTIFICATE", chain[0].Raw[:99]), "cannot be read"},
		"too much":           {strings.Repeat("a", maxPEM+1), "too long"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseChain("certificate (or tls.crt)", tt.text)
			wantKind(t, err, Input)
			wantText(t, err, "certificate (or tls.crt)", tt.mention)
		})
	}
}
