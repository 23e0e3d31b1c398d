// Package pki makes the certificates of clusters for tests and demonstrations.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// life of a certificate: longer than anybody keeps such a cluster.
const life = 30 * 24 * time.Hour

// Authority signs certificates. It is not safe for concurrent use.
type Authority struct {
	// Pair is its own.
	Pair Pair

	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

// Pair is a certificate and its key in PEM. The key is in SEC 1 form, the only one
// that kube-apiserver reads service account keys in.
type Pair struct{ Certificate, Key []byte }

// NewAuthority makes an authority of that name.
func NewAuthority(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the authority's key: %w", err)
	}
	template := unsigned(pkix.Name{CommonName: name}, 1)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the authority's certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate: %w", err)
	}
	keyPEM, err := pemKey(key)
	if err != nil {
		return nil, err
	}
	pair := Pair{Certificate: pemCertificate(der), Key: keyPEM}
	return &Authority{certificate: certificate, Pair: pair, key: key, serial: 1}, nil
}

// Server signs a certificate for a server with these names, of which some may be IP addresses.
func (a *Authority) Server(names ...string) (Pair, error) {
	template := unsigned(pkix.Name{CommonName: names[0]}, a.next())
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return a.sign(template)
}

// Client signs a certificate that the API server takes for this user in these groups.
func (a *Authority) Client(user string, groups ...string) (Pair, error) {
	template := unsigned(pkix.Name{CommonName: user, Organization: groups}, a.next())
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.sign(template)
}

func (a *Authority) next() int64 {
	a.serial++
	return a.serial
}

func (a *Authority) sign(template *x509.Certificate) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making a key: %w", err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("signing a certificate: %w", err)
	}
	keyPEM, err := pemKey(key)
	if err != nil {
		return Pair{}, err
	}
	return Pair{Certificate: pemCertificate(der), Key: keyPEM}, nil
}

func unsigned(subject pkix.Name, serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      subject,
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(life),
	}
}

func pemCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// pemKey is in SEC 1 form, the only one that kube-apiserver reads service account keys in.
func pemKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
