package main

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/providertoken/operator/api/v1alpha1"
)

// rewatchAfter is the pause before a broken watch is begun anew.
const rewatchAfter = 200 * time.Millisecond

// observer writes down what a workload would read.
type observer struct {
	plane    *plane
	provider *provider
	ledger   *ledger
	// selector of the Secrets, and the key that the token is under.
	selector, key string
	// interval after which a token is to be replaced, where the Secret does not tell.
	interval time.Duration
}

// run watches Secrets until ctx ends. One watch is all that the bench costs the API
// server during a measurement.
func (o *observer) run(ctx context.Context) {
	for ctx.Err() == nil {
		o.watch(ctx)
		wait(ctx, rewatchAfter)
	}
}

func (o *observer) watch(ctx context.Context) {
	w, err := o.plane.core.CoreV1().Secrets("").Watch(ctx, metav1.ListOptions{LabelSelector: o.selector})
	if err != nil {
		return
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		if secret, ok := e.Object.(*corev1.Secret); ok && (e.Type == watch.Added || e.Type == watch.Modified) {
			o.seen(secret, time.Now())
		}
	}
}

func (o *observer) seen(secret *corev1.Secret, now time.Time) {
	m, known := o.provider.recognise(string(secret.Data[o.key]))
	if !known {
		return
	}
	planned, err := time.Parse(time.RFC3339, secret.Annotations[v1alpha1.RefreshAtAnnotation])
	if err != nil {
		planned = now.Add(o.interval)
	}
	o.ledger.publish(secret.Namespace, secret.Name, m, now, planned)
}
