// Package exchange makes HTTP exchanges with token endpoints, and decides when
// each may begin.
//
// Client carries one request to a provider and its answer back: over verified
// TLS, without following redirects, within one deadline, with a bounded answer,
// and never to an address that the definition's trust does not cover. It does
// not know what the bytes mean; the provider package does.
//
// Scheduler starts jobs, each of which usually makes one such exchange, such
// that no provider is asked more than it can bear, no provider that hangs and no
// namespace that wants everything delays the tokens of others, and what expires
// first goes first.
//
// It must not import anything of Kubernetes, not even k8s.io/utils, and it never
// logs: what it has to say is in its errors.
package exchange
