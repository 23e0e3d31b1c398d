package rotation

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestStatesThatNobodyAsksForAreForgottenUnlessSomethingIsOwedToThem(t *testing.T) {
	now := noon()
	b := &Book{Now: func() time.Time { return now }}
	name := func(s string) types.NamespacedName { return types.NamespacedName{Namespace: "ns", Name: s} }
	b.entry(name("gone"))
	b.entry(name("in use")).flying = &Use{}
	b.entry(name("owed")).owed = &debt{}
	b.entry(name("unsent")).unsent = []string{"x"}
	b.entry(name("put back")).overwritten = &state{}
	<-b.entry(name("held")).turn
	now = now.Add(idle - 1)
	b.entry(name("asked for"))
	b.Sweep()
	if len(b.entries) != 7 {
		t.Errorf("%d states are left before a day has passed", len(b.entries))
	}
	now = now.Add(1)
	b.Sweep()
	if _, found := b.entries[name("gone")]; found || len(b.entries) != 6 {
		t.Errorf("after a day, these are left: %v", b.entries)
	}
	now = now.Add(idle)
	b.Sweep()
	if _, found := b.entries[name("asked for")]; found || len(b.entries) != 5 {
		t.Errorf("after another day, these are left: %v", b.entries)
	}
	for _, s := range []string{"in use", "owed", "unsent", "put back"} {
		if err := b.entries[name(s)].enter(t.Context()); err != nil {
			t.Errorf("nobody can use the state %q any more: %v", s, err)
		}
	}
}
