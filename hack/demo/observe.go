package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

const (
	// sampleEvery is how often every Secret is asked whether its token still serves.
	sampleEvery = 100 * time.Millisecond
	drawEvery   = 250 * time.Millisecond
	// rewatchAfter is the pause before a broken watch is begun anew.
	rewatchAfter = 200 * time.Millisecond

	stateReady   = "Ready"
	stateWaiting = "waiting"
)

// observer looks at the cluster as a workload and a person would, and keeps the
// ledgers. All of its fields belong to the goroutine that calls run.
type observer struct {
	client  client.WithWatch
	display *display
	ways    []way
	ledgers []*ledger
	samples int
}

func newObserver(config *rest.Config, d *display, ways []way) (*observer, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("building the scheme: %w", err)
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("building the scheme: %w", err)
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	ledgers := make([]*ledger, 0, len(ways))
	for _, w := range ways {
		ledgers = append(ledgers, &ledger{name: w.name, state: stateWaiting})
	}
	return &observer{client: c, display: d, ways: ways, ledgers: ledgers}, nil
}

// run observes until ctx ends or one of the processes does, which is an error.
func (o *observer) run(ctx context.Context, processes ...*process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	secrets := o.follow(ctx, &corev1.SecretList{})
	tokens := o.follow(ctx, &v1alpha1.ProviderTokenList{})
	failed := firstToEnd(ctx, processes)
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	draw := time.NewTicker(drawEvery)
	defer draw.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-failed:
			return p.failure()
		case e := <-secrets:
			o.secretChanged(e)
			o.sample()
		case e := <-tokens:
			o.tokenChanged(e)
		case <-sample.C:
			o.sample()
		case <-draw.C:
			o.display.update(o.lines(time.Now()))
		}
	}
}

// follow sends every change in the demo's namespace until ctx ends.
func (o *observer) follow(ctx context.Context, list client.ObjectList) <-chan watch.Event {
	events := make(chan watch.Event)
	go func() {
		for ctx.Err() == nil {
			o.forward(ctx, list, events)
			select {
			case <-ctx.Done():
			case <-time.After(rewatchAfter):
			}
		}
	}()
	return events
}

// forward lives as long as one watch.
func (o *observer) forward(ctx context.Context, list client.ObjectList, events chan<- watch.Event) {
	w, err := o.client.Watch(ctx, list, client.InNamespace(demoNamespace))
	if err != nil {
		return // follow tries again; a lasting failure shows as missing refreshes
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		select {
		case events <- e:
		case <-ctx.Done():
			return
		}
	}
}

func firstToEnd(ctx context.Context, processes []*process) <-chan *process {
	failed := make(chan *process, len(processes))
	for _, p := range processes {
		go func() {
			select {
			case <-p.ended:
				failed <- p
			case <-ctx.Done():
			}
		}()
	}
	return failed
}

func (o *observer) secretChanged(e watch.Event) {
	secret, ok := e.Object.(*corev1.Secret)
	if !ok {
		return
	}
	i := o.index(secret.Name)
	if i < 0 {
		return
	}
	now := time.Now()
	next := content{token: string(secret.Data["token"])}
	next.expires, _ = time.Parse(time.RFC3339, string(secret.Data["expires-at"])) // unreadable is expired
	if e.Type == watch.Deleted {
		next = content{}
	}
	l := o.ledgers[i]
	previous := l.now
	if !l.publish(next, now) {
		return
	}
	switch {
	case next.token == "":
		o.display.change(l.name, "Secret deleted")
	case previous.token == "":
		o.display.change(l.name, "token %s, good for %s", next.fingerprint(), seconds(next.left(now)))
	default:
		o.display.change(l.name, "token %s, good for %s, replaces %s, which had %s left; refreshes: %d, provider calls: %d",
			next.fingerprint(), seconds(next.left(now)), previous.fingerprint(), seconds(previous.left(now)), l.refreshes, o.ways[i].calls())
	}
}

func (o *observer) tokenChanged(e watch.Event) {
	p, ok := e.Object.(*v1alpha1.ProviderToken)
	if !ok {
		return
	}
	i := o.index(p.Name)
	if i < 0 {
		return
	}
	state := stateOf(p)
	if e.Type == watch.Deleted {
		state = "deleted"
	}
	if l := o.ledgers[i]; l.state != state {
		l.state = state
		o.display.change(l.name, "%s", state)
	}
}

// stateOf puts the conditions into a few words.
func stateOf(p *v1alpha1.ProviderToken) string {
	ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ReadyCondition)
	switch {
	case ready == nil:
		return stateWaiting
	case ready.Status != "True":
		return ready.Reason
	case p.Status.Failure != nil:
		return stateReady + ", but " + p.Status.Failure.Reason
	}
	return stateReady
}

func (o *observer) sample() {
	now := time.Now()
	o.samples++
	for i, l := range o.ledgers {
		if l.check(now, o.ways[i].host.Accepts) {
			o.display.say("%-16s %s", l.name, l.lapses[len(l.lapses)-1].reason)
		}
	}
}

func (o *observer) index(name string) int {
	for i, w := range o.ways {
		if w.name == name {
			return i
		}
	}
	return -1
}

func (o *observer) lines(now time.Time) []line {
	lines := make([]line, 0, len(o.ways))
	for i, w := range o.ways {
		l := o.ledgers[i]
		lines = append(lines, line{
			provider: w.name, state: l.state, fingerprint: l.now.fingerprint(),
			left: l.now.left(now), life: tokenLifetime, refreshes: l.refreshes, calls: w.calls(),
		})
	}
	return lines
}

func seconds(d time.Duration) string { return d.Round(time.Second).String() }
