package controller

import (
	"fmt"
	"maps"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
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
