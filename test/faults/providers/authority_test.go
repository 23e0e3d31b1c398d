package providers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// authority signs server certificates, good ones and others.
type authority struct {
	key    *ecdsa.PrivateKey
	parent *x509.Certificate
	bundle string
	serial int64
}

func newAuthority(name string) *authority {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	Expect(err).NotTo(HaveOccurred())
	parent, err := x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	return &authority{key: key, parent: parent, serial: 1, bundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// sign makes a certificate for a name or an address.
func (a *authority) sign(host string, until time.Time) *tls.Certificate {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	a.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: "a provider"},
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.parent, key.Public(), a.key)
	Expect(err).NotTo(HaveOccurred())
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// certificates are what a faulty endpoint can show.
type certificates struct {
	trusted, stranger              *authority
	good, named                    *tls.Certificate
	wrongHost, unknownCA, outdated *tls.Certificate
}

func newCertificates() *certificates {
	GinkgoHelper()
	far := time.Date(2099, 12, 31, 0, 0, 0, 0, time.UTC)
	c := &certificates{trusted: newAuthority("trusted"), stranger: newAuthority("a stranger")}
	c.good = c.trusted.sign("127.0.0.1", far)
	c.named = c.trusted.sign("*."+zone, far)
	c.wrongHost = c.trusted.sign("elsewhere.example", far)
	c.unknownCA = c.stranger.sign("127.0.0.1", far)
	c.outdated = c.trusted.sign("127.0.0.1", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
	return c
}
