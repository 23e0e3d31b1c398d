package controller

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/alarms"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/metrics"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/target"
)

// shelf is an API server and the informers' caches in one: what is read from it is
// what informers hand out, and what is written to it is there at once and counted.
type shelf struct {
	client.Client // nil: what is not here must not be used
	objects       map[string]client.Object
	// asPut is what each was like when it came.
	asPut         map[client.Object]client.Object
	writes, reads int
	version       int
	// hidden are not in the caches.
	hidden map[string]bool
	// noDryRuns is an admission webhook that is unfit for them.
	noDryRuns bool
}

func (s *shelf) key(o client.Object, key client.ObjectKey) string {
	return fmt.Sprintf("%T %s", o, key)
}

func (s *shelf) put(o client.Object) {
	s.version++
	o.SetResourceVersion(strconv.Itoa(s.version))
	s.objects[s.key(o, client.ObjectKeyFromObject(o))] = o
	if s.asPut != nil {
		s.asPut[o] = o.DeepCopyObject().(client.Object)
	}
}

// cached is what reads from the shelf as from an informer, down to how often it copies.
type cached struct {
	client.Client
	shelf *shelf
}

func (c cached) Get(_ context.Context, key client.ObjectKey, out client.Object, opts ...client.GetOption) error {
	var o client.GetOptions
	o.ApplyOptions(opts)
	found, exists := c.shelf.objects[c.shelf.key(out, key)]
	if !exists || c.Client != c.shelf && c.shelf.hidden[c.shelf.key(out, key)] {
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	if o.UnsafeDisableDeepCopy == nil || !*o.UnsafeDisableDeepCopy {
		found = found.DeepCopyObject().(client.Object)
	}
	reflect.Indirect(reflect.ValueOf(out)).Set(reflect.Indirect(reflect.ValueOf(found)))
	return nil
}

func (c cached) Status() client.SubResourceWriter { return statusShelf{shelf: c.shelf} }

type statusShelf struct {
	client.SubResourceWriter
	shelf *shelf
}

func (s statusShelf) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	s.shelf.writes++
	s.shelf.put(o.DeepCopyObject().(client.Object))
	o.SetResourceVersion(strconv.Itoa(s.shelf.version))
	return nil
}

// Get reads live.
func (s *shelf) Get(_ context.Context, key client.ObjectKey, out client.Object, _ ...client.GetOption) error {
	s.reads++
	return cached{Client: s, shelf: s}.Get(context.Background(), key, out)
}

func (s *shelf) Create(_ context.Context, o client.Object, opts ...client.CreateOption) error {
	if _, exists := s.objects[s.key(o, client.ObjectKeyFromObject(o))]; exists {
		s.writes++
		return apierrors.NewAlreadyExists(schema.GroupResource{}, o.GetName())
	}
	return s.save(o, (&client.CreateOptions{}).ApplyOptions(opts).DryRun)
}

func (s *shelf) Update(_ context.Context, o client.Object, opts ...client.UpdateOption) error {
	return s.save(o, (&client.UpdateOptions{}).ApplyOptions(opts).DryRun)
}

func (s *shelf) save(o client.Object, dry []string) error {
	s.writes++
	if len(dry) > 0 && s.noDryRuns {
		return apierrors.NewBadRequest("a webhook knows no dry runs")
	}
	if len(dry) > 0 {
		return nil
	}
	o.SetUID("0d5f4c2e-0000-4000-8000-000000000002")
	stored := o.DeepCopyObject().(client.Object)
	s.put(stored)
	o.SetResourceVersion(stored.GetResourceVersion())
	return nil
}

// answering is a provider that always has a token.
type answering struct{ now func() time.Time }

func (a answering) Do(context.Context, provider.Request, exchange.Trust) (provider.Answer, error) {
	return provider.Answer{
		Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, SentAt: a.now(), ReceivedAt: a.now(),
		Body: []byte(`{"access_token":"` + longToken + `","token_type":"Bearer","expires_in":3600}`),
	}, nil
}

// longToken has the length of a usual JWT.
const longToken = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0." +
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" +
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" +
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" +
	"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"

type silent struct{}

func (silent) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

var _ events.EventRecorder = silent{}

// settled is a Reconciler with one ProviderToken whose token was minted, published and reported.
type settled struct {
	*Reconciler
	*shelf
	clock   *clocktesting.FakeClock
	request reconcile.Request
}

func settle(tb testing.TB, ref v1alpha1.ProviderReference) *settled {
	tb.Helper()
	catalog, err := provider.Builtin()
	if err != nil {
		tb.Fatal(err)
	}
	counters, err := metrics.New(prometheus.NewRegistry())
	if err != nil {
		tb.Fatal(err)
	}
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	s := &shelf{objects: map[string]client.Object{}, asPut: map[client.Object]client.Object{}}
	reading := cached{shelf: s}
	r := &Reconciler{
		Client: reading, Live: s, Credentials: reading, Targets: reading, Writer: &target.Writer{Client: s, Live: s},
		Catalog: catalog, Exchanger: answering{clock.Now}, Scheduler: exchange.NewScheduler(exchange.SchedulerOptions{Clock: clock}),
		Clock: clock, Events: silent{}, News: silent{}, Metrics: counters, Log: logr.Discard(),
		Options: Options{InlineProviders: true, ClusterProviders: true},
		memory:  newMemory(), alarms: alarms.New(clock),
	}
	bound := ref.Name
	if ref.Kind != "" {
		bound = string(ref.Kind) + "." + ref.Name
	}
	s.put(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "imagery", Name: "login", Labels: map[string]string{v1alpha1.CredentialsForLabel: bound}},
		Data:       map[string][]byte{"client_id": []byte("id"), "client_secret": []byte("secret")},
	})
	s.put(&v1alpha1.ClusterTokenProvider{
		ObjectMeta: metav1.ObjectMeta{Name: "corp", Generation: 1, UID: "c0000000-0000-4000-8000-000000000001"},
		Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{
			TokenURL: "https://sso.example.com/token", Scopes: []v1alpha1.Scope{"a", "b"},
		}},
	})
	pt := &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: "imagery", Name: "corp-token", UID: "5f0c6b1e-0000-4000-8000-000000000001", Generation: 1},
		Spec:       v1alpha1.ProviderTokenSpec{ProviderRef: &ref, Credentials: &v1alpha1.Credentials{SecretName: "login"}},
	}
	s.put(pt)
	was := &settled{Reconciler: r, shelf: s, clock: clock, request: reconcile.Request{NamespacedName: client.ObjectKeyFromObject(pt)}}
	was.look(tb)
	r.Scheduler.Cancel(string(pt.UID))
	if o := r.run(pt.UID)(tb.Context()); o.Kind != "" {
		tb.Fatalf("no token was issued: %+v", o)
	}
	was.look(tb) // publishes and tells
	was.look(tb) // sees that it is so
	if !ready(s.objects[s.key(pt, client.ObjectKeyFromObject(pt))].(*v1alpha1.ProviderToken)) {
		tb.Fatal("the ProviderToken is not ready")
	}
	if s.reads != 0 || s.writes != 3 {
		tb.Fatalf("the first token cost %d reads and %d writes; it should be a rehearsal, the target, and one status", s.reads, s.writes)
	}
	s.reads, s.writes = 0, 0
	return was
}

func (s *settled) look(tb testing.TB) {
	tb.Helper()
	// As a manager's logger does, it says nothing of what is only for looking closer.
	ctx := log.IntoContext(tb.Context(), logr.Discard())
	if _, err := s.Reconcile(ctx, s.request); err != nil {
		tb.Fatal(err)
	}
}

// bounds of the allocations of one reconcile of a fresh object: what is measured, and
// five on top. One copy of a ProviderToken does not fit into that.
func freshObjects() map[string]struct {
	ref   v1alpha1.ProviderReference
	bound float64
} {
	return map[string]struct {
		ref   v1alpha1.ProviderReference
		bound float64
	}{
		"builtin": {v1alpha1.ProviderReference{Name: "PlantPredict"}, 131},
		"cluster": {v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: "corp"}, 141},
	}
}

func TestTheReconcileOfAFreshObjectAsksTheAPIServerForNothing(t *testing.T) {
	for name, c := range freshObjects() {
		t.Run(name, func(t *testing.T) {
			s := settle(t, c.ref)
			s.look(t)
			if s.reads+s.writes > 0 {
				t.Errorf("%d reads and %d writes", s.reads, s.writes)
			}
			if at := s.Scheduler.Stats(); at.Queued+at.Running > 0 {
				t.Error("a token is on its way that nobody needs")
			}
		})
	}
}

func TestTheReconcileOfAFreshObjectAllocatesLittle(t *testing.T) {
	for name, c := range freshObjects() {
		t.Run(name, func(t *testing.T) {
			s := settle(t, c.ref)
			if got := testing.AllocsPerRun(20, func() { s.look(t) }); got > c.bound+detectorAllocations {
				t.Errorf("%v allocations, and %v are enough", got, c.bound)
			}
		})
	}
}

// Before the first mint in a process, it has to be certain that there is no token yet.
func TestATargetThatTheCacheDoesNotShowIsFoundBeforeATokenIsAskedFor(t *testing.T) {
	const uid = "5f0c6b1e-0000-4000-8000-000000000001"
	for name, c := range map[string]struct {
		noDryRuns, gone bool
		told            bool // status knows of a token, as it does but after a restore
		asks            int
		reads, writes   int
	}{
		"by the rehearsal of its creation":           {asks: 0, reads: 1, writes: 2},
		"by a read, where that is not possible":      {noDryRuns: true, asks: 0, reads: 1, writes: 2},
		"by a read, where status knows of it":        {told: true, asks: 0, reads: 1, writes: 0},
		"or is not there, which the rehearsal shows": {gone: true, asks: 1, reads: 0, writes: 1},
		"or is not there, which a read shows":        {gone: true, noDryRuns: true, asks: 1, reads: 1, writes: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := settle(t, v1alpha1.ProviderReference{Name: "PlantPredict"})
			key := s.key(&corev1.Secret{}, s.request.NamespacedName)
			s.memory, s.noDryRuns, s.hidden = newMemory(), c.noDryRuns, map[string]bool{key: true}
			if c.gone {
				delete(s.objects, key)
			}
			if !c.told {
				pt := s.objects[s.key(&v1alpha1.ProviderToken{}, s.request.NamespacedName)].(*v1alpha1.ProviderToken)
				pt.Status = v1alpha1.ProviderTokenStatus{}
			}
			s.look(t)
			if got := s.Scheduler.Stats().Queued; got != c.asks || s.reads != c.reads || s.writes != c.writes {
				t.Errorf("%d tokens are asked for, with %d reads and %d writes; want %d, %d, %d", got, s.reads, s.writes, c.asks, c.reads, c.writes)
			}
			if !c.gone && !s.memory.of(s.request.NamespacedName, uid).looked {
				t.Error("nobody looked")
			}
		})
	}
}

// What the informers hold is shared by all who read it without a copy.
func TestNothingChangesWhatTheInformersHold(t *testing.T) {
	for name, c := range freshObjects() {
		t.Run(name, func(t *testing.T) {
			s := settle(t, c.ref)
			unchanged := func(after string) {
				t.Helper()
				for o, was := range s.asPut {
					if diff := cmp.Diff(was, o); diff != "" {
						t.Errorf("after %s, %T %s is not what it was: %s", after, o, o.GetName(), diff)
					}
				}
			}
			unchanged("its first token")
			s.look(t)
			unchanged("a look at a fresh object")
			s.clock.Step(45 * time.Minute)
			s.look(t)
			unchanged("asking for a token")
			uid := types.UID("5f0c6b1e-0000-4000-8000-000000000001")
			s.Scheduler.Cancel(string(uid))
			if o := s.run(uid)(t.Context()); o.Kind != "" {
				t.Fatalf("no token was issued: %+v", o)
			}
			s.look(t)
			if s.writes != 2 || s.reads != 0 {
				t.Errorf("a steady refresh made %d writes and %d reads", s.writes, s.reads)
			}
			unchanged("a refresh")
		})
	}
}
