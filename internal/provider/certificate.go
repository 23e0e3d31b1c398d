package provider

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"time"

	"github.com/providertoken/operator/internal/token"
)

const chainFormat = "write the client's own certificate in PEM, and those that lead to its authority after it"

// parseChain reads a PEM chain, the client's own certificate first.
func parseChain(called, text string) ([]*x509.Certificate, error) {
	e := keyErrors{called}
	if strings.TrimSpace(text) == "" {
		return nil, e.is("is missing or empty", "put a value under that key")
	}
	if len(text) > maxPEM {
		return nil, e.is("is too long to be a chain of certificates", chainFormat)
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, e.is("holds something that is not a certificate", chainFormat+", and nothing else")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, e.is("holds a certificate that cannot be read", chainFormat)
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, e.is("holds no certificate", chainFormat)
	}
	return chain, nil
}

// chain is the credential certificate, of which the first is the private key's.
func (d *draft) chain(key signingKey) ([]*x509.Certificate, error) {
	called := d.resolved.called(CredCertificate)
	chain, err := parseChain(called, d.in.Credentials[CredCertificate].Reveal())
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(chain[0].PublicKey) {
		return nil, inputf("use the key that belongs to it, and put the client's own certificate first",
			"the credentials %s and %s do not belong together", called, d.resolved.called(CredPrivateKey))
	}
	if now := d.in.Now; !now.IsZero() && now.After(chain[0].NotAfter) {
		return nil, inputf("renew it", "the credential %s expired at %s", called, chain[0].NotAfter.UTC().Format(time.RFC3339))
	}
	return chain, nil
}

// certificate is what the client shows in the handshake. Chain and key are written anew,
// so that nothing else of what the Secret holds goes further.
func (d *draft) certificate() (*Certificate, error) {
	key, err := d.privateKey()
	if err != nil {
		return nil, err
	}
	chain, err := d.chain(key)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.Signer)
	if err != nil {
		return nil, inputf(keyFormats, "the credential %s cannot be used for TLS", d.resolved.called(CredPrivateKey))
	}
	var text strings.Builder
	for _, c := range chain {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return &Certificate{
		Chain: text.String(),
		Key:   token.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))),
	}, nil
}

// thumbprint is x5t#S256 (RFC 7515 §4.1.8).
func thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
