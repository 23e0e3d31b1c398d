package controller

import (
	"context"
	"testing"
	"unsafe"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/token"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func written(version string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: "t", ResourceVersion: version, Annotations: map[string]string{v1alpha1.OwnerAnnotation: "ns/a"},
	}}
}

func TestTheEchoOfTheLastWriteIsNoNews(t *testing.T) {
	name := types.NamespacedName{Namespace: "ns", Name: "a"}
	r := &Reconciler{memory: newMemory()}
	r.memory.of(name, "uid")
	update := func(version string) bool {
		return r.news().Update(event.UpdateEvent{ObjectOld: written("1"), ObjectNew: written(version)})
	}
	if !update("7") {
		t.Error("a write of somebody else is not told")
	}
	r.memory.update("uid", func(m *recollection) { m.published = &published{resourceVersion: "7", content: target.Content{}} })
	if update("7") {
		t.Error("the operator looks at what it wrote itself")
	}
	if r.news().Create(event.CreateEvent{Object: written("7")}) {
		t.Error("the operator looks at what it made itself")
	}
	if !update("8") {
		t.Error("an edit after the last write is not told")
	}
	if !update("6") {
		t.Error("another version than the last written is not told")
	}
	if !r.news().Delete(event.DeleteEvent{Object: written("7")}) {
		t.Error("the deletion is not told")
	}
	if !r.news().Create(event.CreateEvent{Object: written("7"), IsInInitialList: true}) {
		t.Error("what is there at the start is not told")
	}
	elsewhere := written("7")
	elsewhere.Namespace = "other"
	if !r.news().Update(event.UpdateEvent{ObjectOld: elsewhere, ObjectNew: elsewhere}) {
		t.Error("a Secret that claims an owner in another namespace is not told")
	}
	r.memory.update("uid", func(m *recollection) { m.awaited = true })
	if !update("7") {
		t.Error("the echo is not told to a reconcile that waits for it")
	}
	if update("7") {
		t.Error("the echo is told twice")
	}
}

// A token is in memory once: in the cache, which memory borrows it from.
func TestTheEchoTakesTheCopyOfTheToken(t *testing.T) {
	name := types.NamespacedName{Namespace: "ns", Name: "a"}
	r := &Reconciler{memory: newMemory()}
	for cached, lent := range map[string]bool{"secret": true, "another": false, "": false} {
		ours := &published{resourceVersion: "7", content: target.Content{Token: token.Token{Access: token.NewSecret("secret")}}}
		r.memory.of(name, "uid")
		r.memory.update("uid", func(m *recollection) { m.published = ours })
		s := written("7")
		s.Data = map[string][]byte{target.TokenKey: []byte(cached)}
		if !r.memory.echoes(name, s) {
			t.Error("the echo is told")
		}
		kept := r.memory.of(name, "uid").published.content.Token.Access.Reveal()
		if kept != "secret" {
			t.Errorf("memory holds %q", kept)
		}
		if is := cached != "" && unsafe.StringData(kept) == &s.Data[target.TokenKey][0]; is != lent {
			t.Errorf("%q is lent: %t", cached, is)
		}
		if was := ours.content.Token.Access.Reveal(); cached != "" && unsafe.StringData(was) == &s.Data[target.TokenKey][0] {
			t.Error("what others may be reading was changed")
		}
	}
}

// A reconcile that comes while the cache is late can do nothing with the target: it has
// to be woken when the cache catches up.
func TestAReconcileThatCameBeforeTheCacheCaughtUpIsWokenByIt(t *testing.T) {
	s := settle(t, v1alpha1.ProviderReference{Name: "PlantPredict"})
	uid := types.UID("5f0c6b1e-0000-4000-8000-000000000001")
	key := client.ObjectKey{Namespace: "imagery", Name: "corp-token"}
	stored := s.objects[s.key(&corev1.Secret{}, key)]
	late := stored.DeepCopyObject().(*corev1.Secret)
	late.ResourceVersion = "1"
	s.objects[s.key(late, key)] = late
	s.look(t)
	if s.writes+s.reads != 0 {
		t.Errorf("%d writes and %d reads while the cache is late", s.writes, s.reads)
	}
	if s.memory.echoes(key, stored.(*corev1.Secret)) {
		t.Error("the echo that it waits for is kept from it")
	}
	if s.memory.of(s.request.NamespacedName, uid).awaited {
		t.Error("it waits for ever")
	}
}

func TestWhatManyReferToIsReadBehindWhatIsDue(t *testing.T) {
	queue := priorityqueue.New[reconcile.Request]("test")
	defer queue.ShutDown()
	request := func(name string) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
	}
	h := inBackground(handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{request("user of " + o.GetName())}
	}))
	p := &v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: "p", ResourceVersion: "2"}}
	before := p.DeepCopy()
	before.ResourceVersion = "1"
	var q workqueue.TypedRateLimitingInterface[reconcile.Request] = queue
	h.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: p}, q)
	queue.Add(request("due"))
	var order []string
	for range 2 {
		got, priority, _ := queue.GetWithPriority()
		queue.Done(got)
		order = append(order, got.Name)
		if want := map[string]int{"due": 0, "user of p": handler.LowPriority}[got.Name]; priority != want {
			t.Errorf("%s has priority %d, want %d", got.Name, priority, want)
		}
	}
	if order[0] != "due" {
		t.Errorf("the order is %v", order)
	}
}
