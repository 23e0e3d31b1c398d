package exchange

import (
	"crypto/sha256"
	"crypto/tls"

	"github.com/providertoken/operator/internal/provider"
)

// certificateID tells client certificates apart, with their keys; zero for none. It
// must never be shown: a key that is weak could be guessed from it.
type certificateID [sha256.Size]byte

func identify(c *provider.Certificate) certificateID {
	if c == nil {
		return certificateID{}
	}
	chain, key := sha256.Sum256([]byte(c.Chain)), sha256.Sum256([]byte(c.Key.Reveal()))
	return sha256.Sum256(append(chain[:], key[:]...))
}

// shown returns what a tls.Config asks when a server wants a certificate (RFC 8705 §2);
// nil for none. The one certificate is shown whatever authorities the server lists: a
// provider that knows the certificate itself may list none, or others.
func shown(c *provider.Certificate) (func(*tls.CertificateRequestInfo) (*tls.Certificate, error), error) {
	if c == nil {
		return nil, nil
	}
	pair, err := tls.X509KeyPair([]byte(c.Chain), []byte(c.Key.Reveal()))
	if err != nil {
		// What is wrong with it is said without repeating any of it.
		return nil, &provider.Error{
			Kind:    provider.Input,
			Problem: "the client's certificate and its private key cannot be used for TLS",
			Fix:     "put a PEM certificate and the private key that belongs to it into the credential Secret",
		}
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }, nil
}
