package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certificateLife is longer than anybody keeps such a node.
const certificateLife = 30 * 24 * time.Hour

// authority signs certificates of the cluster.
type authority struct {
	certificate *x509.Certificate
	pair        keyPair
	key         *ecdsa.PrivateKey
	serial      int64
}

// keyPair is a certificate and its key in PEM.
type keyPair struct{ certificate, key []byte }

func newAuthority(name string) (*authority, error) {
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
	pair := keyPair{certificate: pemCertificate(der), key: keyPEM}
	return &authority{certificate: certificate, pair: pair, key: key, serial: 1}, nil
}

// server signs a certificate for a server with these names, of which some may be IP addresses.
func (a *authority) server(names ...string) (keyPair, error) {
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

// client signs a certificate that the API server takes for this user in these groups.
func (a *authority) client(user string, groups ...string) (keyPair, error) {
	template := unsigned(pkix.Name{CommonName: user, Organization: groups}, a.next())
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.sign(template)
}

func (a *authority) next() int64 {
	a.serial++
	return a.serial
}

func (a *authority) sign(template *x509.Certificate) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, fmt.Errorf("making a key: %w", err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return keyPair{}, fmt.Errorf("signing a certificate: %w", err)
	}
	keyPEM, err := pemKey(key)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{certificate: pemCertificate(der), key: keyPEM}, nil
}

// keys makes all that the programs of a node read, by the name of the file, and the
// pairs of users by the name of their kubeconfig.
func keys() (files map[string][]byte, clients map[string]keyPair, err error) {
	ca, err := newAuthority("kubernetes")
	if err != nil {
		return nil, nil, err
	}
	// One of its own: whom it signs may act for everybody.
	frontCA, err := newAuthority("front-proxy")
	if err != nil {
		return nil, nil, err
	}
	pairs := map[string]keyPair{"ca": ca.pair, "front-proxy-ca": frontCA.pair}
	clients = map[string]keyPair{}
	var errs []error
	sign := func(name string) func(keyPair, error) {
		return func(pair keyPair, err error) {
			pairs[name] = pair
			errs = append(errs, err)
		}
	}
	sign("apiserver")(ca.server("kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", nodeIP, serviceIP))
	sign("kubelet")(ca.server(nodeName, nodeIP))
	sign("apiserver-kubelet")(ca.client("kube-apiserver-kubelet-client", "system:masters"))
	sign("front-proxy")(frontCA.client(frontProxy))
	sign("accounts")(ca.client("service-accounts")) // of this, only the key is used
	for _, u := range users() {
		pair, err := ca.client(u.name, u.groups...)
		clients[u.file] = pair
		errs = append(errs, err)
	}
	files = map[string][]byte{}
	for name, pair := range pairs {
		files[name+".crt"], files[name+".key"] = pair.certificate, pair.key
	}
	return files, clients, errors.Join(errs...)
}

func unsigned(subject pkix.Name, serial int64) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      subject,
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certificateLife),
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
