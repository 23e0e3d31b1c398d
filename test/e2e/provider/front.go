package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"time"
)

const handshakePatience = 10 * time.Second

// front is the provider's door: it has a certificate for the Service's address,
// which the simulator (it serves loopback and names) has not, and passes every
// byte between a client and the simulator. A connection that one side cuts is cut
// on the other, so that the simulator's misbehaviour arrives as it is meant.
type front struct {
	bundle string // PEM of the authority
	server *tls.Config
	behind string
	roots  *x509.CertPool // that the simulator's certificate is judged by
}

func newFront(address net.IP, behind, simulatorCA string) (*front, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	// It vouches for itself: an authority of which nothing else comes.
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "end-to-end provider"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{address},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(simulatorCA)) {
		return nil, errors.New("the simulator has no certificate")
	}
	return &front{
		bundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		server: &tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			MinVersion:   tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		},
		behind: behind, roots: roots,
	}, nil
}

// serve accepts connections until ctx ends.
func (f *front) serve(ctx context.Context, listener net.Listener) error {
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go f.pass(ctx, conn)
	}
}

// pass serves one connection. What fails here the client sees as a cut connection.
func (f *front) pass(ctx context.Context, raw net.Conn) {
	client := tls.Server(raw, f.server)
	defer func() { _ = client.Close() }()
	hello, cancel := context.WithTimeout(ctx, handshakePatience)
	defer cancel()
	if client.HandshakeContext(hello) != nil {
		return
	}
	dialer := tls.Dialer{Config: &tls.Config{
		MinVersion: tls.VersionTLS12, RootCAs: f.roots, NextProtos: []string{"http/1.1"},
	}}
	if protocol := client.ConnectionState().NegotiatedProtocol; protocol != "" {
		dialer.Config.NextProtos = []string{protocol}
	}
	server, err := dialer.DialContext(hello, "tcp", f.behind)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].Close()
		})
	}
	both.Wait()
}
