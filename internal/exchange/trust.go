package exchange

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/providertoken/operator/internal/provider"
)

// Trust is how far a request may be trusted and what it trusts. Requests of
// different trust never share a connection.
type Trust struct {
	// CABundle is PEM; its certificates are the only roots that are trusted. When
	// empty, the system's are.
	CABundle string
	// PublicOnly refuses private, carrier-grade NAT, benchmark, documentation and
	// reserved addresses too. It is for URLs that a namespace wrote itself.
	PublicOnly bool
}

// roots parses the bundle strictly: something in it that is not a certificate is
// a mistake (a private key in the wrong place, a truncated copy), and silently
// trusting less than was meant shows only at the next rotation. It returns nil,
// meaning the system's roots, for an empty bundle.
func (t Trust) roots() (*x509.CertPool, error) {
	if t.CABundle == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	count := 0
	for block, rest := pem.Decode([]byte(t.CABundle)); block != nil; block, rest = pem.Decode(rest) {
		count++
		if block.Type != "CERTIFICATE" {
			return nil, badBundle(fmt.Sprintf("block %d of the CA bundle is not a CERTIFICATE", count))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, badBundle(fmt.Sprintf("certificate %d of the CA bundle cannot be parsed", count))
		}
		pool.AddCert(certificate)
	}
	if count == 0 {
		return nil, badBundle("the CA bundle holds no PEM certificate")
	}
	return pool, nil
}

func badBundle(problem string) *provider.Error {
	return &provider.Error{
		Kind:    provider.Input,
		Problem: problem,
		Fix:     "set caBundle to the PEM certificates of the authorities that sign the provider's certificate, and nothing else",
	}
}
