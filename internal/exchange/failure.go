package exchange

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/providertoken/operator/internal/provider"
)

// failure puts an exchange that brought no answer into our own words. Of what
// net/http says nothing is passed on: it may hold the URL or what a peer sent.
func (a *attempt) failure(err error) *provider.Error {
	failure := a.classify(err)
	failure.SentMaybe = a.sent.Load() && !errors.Is(err, errWithheld)
	return failure
}

func (a *attempt) classify(err error) *provider.Error {
	peer := a.peer(err)
	if failure := a.refusal(err); failure != nil {
		return failure
	}
	if failure := certificateFailure(err, peer); failure != nil {
		return failure
	}
	// A caller's deadline is patience that has run out, like our own.
	if errors.Is(a.caller.Err(), context.Canceled) {
		return unavailable("the exchange with %s was cancelled", a.host)
	}
	// The deadline of the whole can pass before the resolver's own.
	if a.lookup.Load() && errors.Is(err, context.DeadlineExceeded) {
		return unresolved(peer)
	}
	if failure := networkFailure(err, peer); failure != nil {
		return failure
	}
	if a.handshake.Load() || alerted(err) {
		return &provider.Error{
			Kind:    provider.Misconfigured,
			Problem: fmt.Sprintf("the TLS handshake with %s failed", peer),
			Fix:     a.handshakeFix(),
		}
	}
	return advised(unavailable("the exchange with %s failed", peer), brokenFix)
}

func (a *attempt) handshakeFix() string {
	if a.certificate {
		return "check that the provider knows the client's certificate or its authority, and that the endpoint speaks TLS 1.2 or later at this port"
	}
	return "check that the endpoint speaks TLS 1.2 or later at this port and asks for no client certificate"
}

// peer names who was being talked to when err came up.
func (a *attempt) peer(err error) string {
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Op == "proxyconnect" {
		return "the egress proxy"
	}
	return a.host
}

// refusal is a failure that our own guard or the egress proxy decided on.
func (a *attempt) refusal(err error) *provider.Error {
	if address, ok := errors.AsType[*refusedAddressError](err); ok {
		return addressFailure(a.host, address)
	}
	if proxy, ok := errors.AsType[*proxyRefusedError](err); ok {
		return proxyFailure(a.host, proxy.status)
	}
	if errors.Is(err, errWithheld) {
		return advised(unavailable("the request to %s was withheld, since this process leads no more", a.host),
			"nothing is to be done: the one that leads asks for the token")
	}
	return nil
}

func addressFailure(host string, refused *refusedAddressError) *provider.Error {
	fix := "use a host with another address, or let the administrator permit its network with --allow-networks"
	if refused.publicOnly {
		fix += "; definitions that are not trusted may only reach public addresses"
	}
	return &provider.Error{
		Kind:    provider.Misconfigured,
		Problem: fmt.Sprintf("%s has %s, which is refused", host, refused.class),
		Fix:     fix,
	}
}

func proxyFailure(host string, status int) *provider.Error {
	switch status {
	case http.StatusProxyAuthRequired:
		return &provider.Error{
			Kind:    provider.Misconfigured,
			Problem: "the egress proxy wants other credentials",
			Fix:     "let the administrator correct the user and password of --egress-proxy",
		}
	case http.StatusForbidden, http.StatusMethodNotAllowed:
		return &provider.Error{
			Kind:    provider.Misconfigured,
			Problem: fmt.Sprintf("the egress proxy forbids connections to %s", host),
			Fix:     "allow the host in the egress proxy",
		}
	}
	return unavailable("the egress proxy could not connect to %s", host)
}

// certificateFailure is a failure to verify the peer, which only a change of its
// certificate, of the CA bundle or of the URL ends.
func certificateFailure(err error, peer string) *provider.Error {
	problem, fix := certificateProblem(err)
	if problem == "" {
		return nil
	}
	return &provider.Error{
		Kind:    provider.Misconfigured,
		Problem: fmt.Sprintf(problem, peer),
		Fix:     fix,
	}
}

// certificateProblem returns a format for the peer's name; empty when err is of another sort.
func certificateProblem(err error) (problem, fix string) {
	var (
		authority    x509.UnknownAuthorityError
		name         x509.HostnameError
		invalid      x509.CertificateInvalidError
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return "the certificate of %s is signed by an authority that is not trusted",
			"set caBundle to the authority's certificate"
	case errors.As(err, &name):
		return "the certificate of %s is for another host name",
			"correct the host in the token URL, or the provider's certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate of %s has expired or is not valid yet",
			"renew the provider's certificate, or correct the clock of the node"
	case errors.As(err, &invalid), errors.As(err, &verification):
		return "the certificate of %s cannot be verified",
			"correct the provider's certificate"
	case errors.As(err, &record):
		return "%s does not speak TLS",
			"correct the host and port in the token URL"
	}
	return "", ""
}

// networkFailure is a failure that can go away by itself.
func networkFailure(err error, peer string) *provider.Error {
	var (
		lookup  *net.DNSError
		timeout net.Error
	)
	switch {
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return advised(unavailable("the name of %s was not found in the DNS", peer),
			"check the host in the token URL, and that the operator's pods can resolve public names")
	case errors.As(err, &lookup):
		return unresolved(peer)
	case errors.As(err, &timeout) && timeout.Timeout():
		return late(peer)
	case errors.Is(err, syscall.ECONNREFUSED):
		return advised(unavailable("%s refused the connection", peer),
			"check host and port of the token URL, and whether the provider has an outage")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return advised(unavailable("there is no route to %s", peer),
			"check the cluster's egress rules and NetworkPolicies")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return advised(unavailable("%s closed the connection", peer), brokenFix)
	}
	return nil
}

// brokenFix is for connections that ended too early, for which there are many reasons.
const brokenFix = "check whether the provider has an outage, and whether a proxy or firewall on the way closes connections"

func unresolved(peer string) *provider.Error {
	return advised(unavailable("the DNS gave no answer for the name of %s", peer),
		"check the cluster's DNS, and that egress rules let the operator reach it")
}

func late(peer string) *provider.Error {
	return advised(unavailable("%s did not answer in time", peer),
		"check whether the provider has an outage, and that egress rules let the operator reach it")
}

// advised adds what to do for as long as the failure lasts; it is retried anyway.
func advised(e *provider.Error, fix string) *provider.Error {
	e.Fix = fix
	return e
}

// alerted tells whether the peer broke off with a TLS alert.
func alerted(err error) bool {
	var operation *net.OpError
	return errors.As(err, &operation) && operation.Op == "remote error"
}

// read returns the body of an answer, decompressed and bounded. Decompression is
// a stream, so what a bomb would unfold to is never held.
func (a *attempt) read(response *http.Response) ([]byte, error) {
	if encoding := response.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, a.unreadable("%s answered in a content encoding that was not asked for")
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxBody+1))
	if broken(err) {
		return nil, a.unreadable("%s sent an answer whose gzip encoding is broken")
	}
	if err != nil {
		return nil, a.failure(err)
	}
	if len(body) > MaxBody {
		return nil, a.unreadable("%s sent an answer larger than 64 KiB")
	}
	return body, nil
}

// unreadable is an answer that came and cannot be used.
func (a *attempt) unreadable(format string) *provider.Error {
	failure := advised(unavailable(format, a.host),
		"check that tokenURL is the token endpoint and that nothing between answers in its place")
	failure.SentMaybe = true
	return failure
}

func broken(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) || errors.As(err, &corrupt)
}

func unavailable(format, peer string) *provider.Error {
	return &provider.Error{Kind: provider.Unavailable, Problem: fmt.Sprintf(format, peer)}
}
