//go:build e2e

package e2e

import (
	"context"
	"slices"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/test/e2e/wire"
)

// issue is one token in a target Secret.
type issue struct {
	Hash      string    `json:"hash"`
	Published time.Time `json:"published"` // when the suite's watch told
	Issued    time.Time `json:"issued"`
	Refresh   time.Time `json:"refresh"`
	Expires   time.Time `json:"expires"`
}

// history is what every target Secret ever held, as a watch told it.
type history struct {
	// changes names the targets whose tokens are replaced; it closes with the history.
	changes chan string

	mu     sync.Mutex
	issues map[string][]issue
}

// follow records until stop is closed.
func follow(c *cluster, stop <-chan struct{}) *history {
	h := &history{changes: make(chan string, 1000), issues: map[string][]issue{}}
	factory := informers.NewSharedInformerFactoryWithOptions(c.clients, 0,
		informers.WithNamespace(workNamespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = v1alpha1.TargetLabel }))
	informer := factory.Core().V1().Secrets().Informer()
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    h.record,
		UpdateFunc: func(_, now any) { h.record(now) },
	})
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	go func() {
		<-stop
		factory.Shutdown() // nothing is recorded any more
		close(h.changes)
	}()
	return h
}

func (h *history) record(object any) {
	secret, ok := object.(*corev1.Secret)
	if !ok || len(secret.Data["token"]) == 0 {
		return
	}
	instant := func(annotation string) time.Time {
		at, _ := time.Parse(time.RFC3339, secret.Annotations[annotation])
		return at
	}
	now := issue{
		Hash: wire.Hash(string(secret.Data["token"])), Published: time.Now(),
		Issued: instant(v1alpha1.IssuedAtAnnotation), Refresh: instant(v1alpha1.RefreshAtAnnotation), Expires: instant(v1alpha1.ExpiresAtAnnotation),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.issues[secret.Name]
	if !slices.ContainsFunc(known, func(i issue) bool { return i.Hash == now.Hash }) {
		h.issues[secret.Name] = append(known, now)
		if len(known) > 0 {
			h.changes <- secret.Name
		}
	}
}

// of a target, in order.
func (h *history) of(target string) []issue {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.issues[target])
}

// last of a target; the zero issue when it never held one.
func (h *history) last(target string) issue {
	all := h.of(target)
	if len(all) == 0 {
		return issue{}
	}
	return all[len(all)-1]
}

// replaced waits until the target holds another token than this one.
func (h *history) replaced(ctx context.Context, target, hash string, within time.Duration) issue {
	GinkgoHelper()
	Eventually(func() string { return h.last(target).Hash }).
		WithContext(ctx).WithTimeout(within).WithPolling(poll).ShouldNot(Equal(hash), "%s was not replaced", target)
	return h.last(target)
}

// expired is how long the target held a token that had expired.
func (h *history) expired(target string) time.Duration {
	var sum time.Duration
	all := h.of(target)
	for i := 1; i < len(all); i++ {
		sum += max(0, all[i].Published.Sub(all[i-1].Expires))
	}
	return sum
}

// early counts tokens that were replaced before their time.
func (h *history) early(target string) int {
	n := 0
	all := h.of(target)
	for i := 1; i < len(all); i++ {
		if all[i].Issued.Before(all[i-1].Refresh) {
			n++
		}
	}
	return n
}
