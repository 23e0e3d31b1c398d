package controller

import (
	"context"
	"crypto/sha256"
	"strconv"
	"sync"
	"time"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/source"
)

// issuer is whose metadata tell a token endpoint, and how far it is trusted.
type issuer struct {
	url   string
	trust exchange.Trust
	// namespace that wrote it; empty where the catalog or a ClusterTokenProvider did.
	namespace string
}

// host of the issuer, with its port.
func (i *issuer) host() string {
	return source.HostOf(i.url)
}

// moved tells whether the metadata name an endpoint at another host than the issuer's,
// for which nobody stands who stands for the issuer.
func (i *issuer) moved(r provider.Resolved) bool {
	return i != nil && !r.NeedsDiscovery() && r.Host() != i.host()
}

// issuers remembers metadata. Its methods may be called from any goroutine.
type issuers struct {
	mu    sync.Mutex
	known map[issuerID]discovered
	count map[string]int // of the entries, by namespace
}

// issuerID tells issuers apart without holding on to their CA bundles. Namespaces that
// wrote the issuer themselves do not share what is known of it, so that none fills
// or empties the memory of another.
type issuerID struct {
	namespace string // empty where somebody vouches for the issuer
	digest    [sha256.Size]byte
}

func (i issuer) id() issuerID {
	return issuerID{
		namespace: i.namespace,
		digest:    sha256.Sum256([]byte(strconv.Itoa(len(i.url)) + " " + i.url + i.trust.CABundle)),
	}
}

type discovered struct {
	metadata provider.Metadata
	at       time.Time
}

func (i *issuers) get(key issuer) (discovered, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	d, ok := i.known[key.id()]
	return d, ok
}

func (i *issuers) put(key issuer, d discovered) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.known == nil {
		i.known, i.count = map[issuerID]discovered{}, map[string]int{}
	}
	id := key.id()
	if _, again := i.known[id]; !again {
		i.makeRoom(id.namespace)
		i.count[id.namespace]++
	}
	i.known[id] = d
}

// makeRoom forgets the oldest metadata of a namespace that has more than its share. A
// namespace can name any number of issuers.
func (i *issuers) makeRoom(namespace string) {
	limit := maxIssuersOfNamespace
	if namespace == "" {
		limit = maxIssuers
	}
	for i.count[namespace] >= limit {
		var oldest issuerID
		found := false
		for id, d := range i.known {
			if id.namespace == namespace && (!found || d.at.Before(i.known[oldest].at)) {
				oldest, found = id, true
			}
		}
		delete(i.known, oldest)
		i.count[namespace]--
	}
}

// maxIssuers and maxIssuersOfNamespace bound the memory of metadata; beyond them they
// are asked for more often.
const (
	maxIssuers            = 4096
	maxIssuersOfNamespace = 64
)

// discover puts the endpoint that the issuer's metadata name into f.resolved, as far as
// it is known. Metadata that were read long ago still count, until newer ones are there.
func (r *Reconciler) discover(f *facts, w wallet) *problem {
	if !f.resolved.NeedsDiscovery() {
		return nil
	}
	vouched := f.origin.Vouches(f.resolved)
	f.issuer = &issuer{url: f.resolved.IssuerURL, trust: exchange.Trust{CABundle: f.resolved.CABundle, PublicOnly: !vouched}}
	if !vouched {
		f.issuer.namespace = f.pt.Namespace
	}
	if !vouched && !w.Allows(f.issuer.host()) {
		return sourceProblem(source.HostNotAllowed(f.issuer.host()))
	}
	known, ok := r.issuers.get(*f.issuer)
	if !ok {
		return nil
	}
	found, err := f.resolved.WithEndpoint(known.metadata)
	if err != nil {
		return providerProblem(v1alpha1.ReasonDiscoveryFailed, err.Error())
	}
	f.resolved = found
	return nil
}

// fresh tells whether the metadata need not be asked for.
func (i *issuers) fresh(key issuer, now time.Time) bool {
	d, ok := i.get(key)
	return ok && now.Sub(d.at) < provider.MetadataLifetime && !now.Before(d.at)
}

// rediscover asks for the issuer's metadata where they are not known, or old. It tells
// whether the endpoint is another one than the attempt was made for. When old metadata
// cannot be renewed, they still count: an issuer's documents may be down while its
// token endpoint works.
func (a *attempt) rediscover(ctx context.Context) (changed bool, failed *provider.Error) {
	issuers, now := &a.r.issuers, a.r.Clock.Now()
	if issuers.fresh(*a.issuer, now) {
		known, _ := issuers.get(*a.issuer)
		return a.outdated(known.metadata), nil
	}
	metadata, err := a.fetchMetadata(ctx)
	if err != nil {
		if _, old := issuers.get(*a.issuer); old {
			a.r.Log.Info("an issuer's metadata could not be read again; those read before are used", "issuer", a.issuer.url, "because", err.Problem)
			return false, nil
		}
		return false, err
	}
	issuers.put(*a.issuer, discovered{metadata: metadata, at: now})
	return a.outdated(metadata), nil
}

// outdated tells whether the attempt was made for another endpoint than m names, or for none.
func (a *attempt) outdated(m provider.Metadata) bool {
	if a.res.NeedsDiscovery() {
		return true
	}
	fresh := a.res
	fresh.TokenURL = ""
	found, err := fresh.WithEndpoint(m)
	return err != nil || found.TokenURL != a.res.TokenURL
}

func (a *attempt) fetchMetadata(ctx context.Context) (provider.Metadata, *provider.Error) {
	ctx, cancel := context.WithTimeout(ctx, patience(a.expires, a.r.Clock.Now()))
	defer cancel()
	return source.ReadMetadata(ctx, a.r.Exchanger, a.issuer.url, a.issuer.trust)
}

// discoveryReason is empty for failures that pass.
func discoveryReason(err *provider.Error) string {
	if err.Kind == provider.Misconfigured {
		return v1alpha1.ReasonDiscoveryFailed
	}
	return ""
}
