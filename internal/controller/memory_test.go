package controller

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/metrics"
)

// heap is what is in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What the operator itself remembers of an object, beside what its informers keep.
func TestLittleIsRememberedOfAFreshObject(t *testing.T) {
	const objects, bound = 2000, 3600
	s := settle(t, v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: "corp"})
	counters, err := metrics.New(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s.Metrics = counters
	like := s.objects[s.key(&v1alpha1.ProviderToken{}, s.request.NamespacedName)].(*v1alpha1.ProviderToken)
	// The shelf stands for the informers: what is on it is not counted.
	var kept, uids, names = map[string]client.Object{}, []types.UID{}, []types.NamespacedName{}
	for i := range objects {
		uids = append(uids, types.UID(fmt.Sprintf("5f0c6b1e-0000-4000-8000-%012d", i+100)))
		names = append(names, types.NamespacedName{Namespace: "imagery", Name: fmt.Sprintf("token-of-team-%d", i)})
	}
	fixtures := s.objects
	s.asPut = nil
	before := heap()
	for i, name := range names {
		pt := like.DeepCopy()
		pt.Name, pt.UID, pt.Status = name.Name, uids[i], v1alpha1.ProviderTokenStatus{}
		s.objects = map[string]client.Object{}
		maps.Copy(s.objects, fixtures)
		s.put(pt)
		s.request.NamespacedName = name
		s.look(t)
		s.Scheduler.Cancel(string(pt.UID))
		s.run(pt.UID)(t.Context())
		s.look(t)
		s.memory.shown(pt.UID, "999999999") // the watch shows the status that was written
	}
	s.objects = kept
	grown := (heap() - before) / objects
	runtime.KeepAlive(s)
	t.Logf("%d bytes of heap for each object, of which the token is %d", grown, len(longToken))
	if grown > bound {
		t.Errorf("%d bytes of heap are remembered of each object, and %d are enough", grown, bound)
	}
}

// catchingUp is a cache that shows the next version a moment after an object was read.
type catchingUp struct {
	client.Client
	pt   v1alpha1.ProviderToken
	then func()
}

func (c *catchingUp) Get(_ context.Context, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	c.pt.DeepCopyInto(o.(*v1alpha1.ProviderToken))
	c.then()
	return nil
}

func TestAStatusThatTheCacheComesToShowWhileItIsReadIsNotForgotten(t *testing.T) {
	name := types.NamespacedName{Namespace: "ns", Name: "a"}
	for about, c := range map[string]struct {
		cached, uid string
		then        string // what the watch brings meanwhile
		wantOurs    bool
		wantKept    bool
	}{
		"late":                        {cached: "6", uid: "u", wantOurs: true, wantKept: true},
		"late, and not any more":      {cached: "6", uid: "u", then: "7", wantOurs: true},
		"as it was written":           {cached: "7", uid: "u"},
		"later":                       {cached: "8", uid: "u"},
		"another object of that name": {cached: "6", uid: "other", wantKept: true},
	} {
		r := &Reconciler{memory: newMemory()}
		r.memory.of(name, "u")
		r.memory.update("u", func(m *recollection) {
			m.reported = &reported{resourceVersion: "7", status: v1alpha1.ProviderTokenStatus{SecretName: "ours"}}
		})
		r.Client = &catchingUp{
			pt: v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{UID: types.UID(c.uid), ResourceVersion: c.cached}},
			then: func() {
				if c.then != "" {
					r.memory.shown("u", c.then)
				}
			},
		}
		var pt v1alpha1.ProviderToken
		if err := r.read(t.Context(), name, &pt); err != nil {
			t.Fatal(err)
		}
		if ours := pt.Status.SecretName == "ours"; ours != c.wantOurs {
			t.Errorf("a cache that is %s: the status is what was written last: %t", about, ours)
		}
		if kept := r.memory.byUID["u"].reported != nil; kept != c.wantKept {
			t.Errorf("a cache that is %s: what was written last is remembered: %t", about, kept)
		}
	}
}
