package lease

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// written counts what reaches the API server.
type written struct {
	resourcelock.Interface
	updates []string
	fails   error
}

func (w *written) Identity() string { return "me" }

func (w *written) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	return &resourcelock.LeaderElectionRecord{}, nil, nil
}

func (w *written) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	w.updates = append(w.updates, r.HolderIdentity)
	return w.fails
}

func TestARenewalIsSparedThatComesRightAfterAnotherOne(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	inner := &written{}
	lock := &Sparing{Interface: inner, Every: 2 * time.Second, Now: func() time.Time { return now }}
	mine, released := resourcelock.LeaderElectionRecord{HolderIdentity: "me"}, resourcelock.LeaderElectionRecord{}
	update := func(what string, r resourcelock.LeaderElectionRecord, want int) {
		t.Helper()
		inner.updates = nil
		if err := lock.Update(t.Context(), r); !errors.Is(err, inner.fails) || len(inner.updates) != want {
			t.Errorf("%s: %d writes (%v), want %d", what, len(inner.updates), err, want)
		}
	}
	update("winning it", mine, 1)
	now = now.Add(500 * time.Millisecond)
	update("renewing it at once", mine, 0)
	now = now.Add(1500 * time.Millisecond)
	update("renewing it when that is due", mine, 1)
	now = now.Add(500 * time.Millisecond)
	update("releasing it", released, 1)
	update("winning it again right after", mine, 1)
	if _, _, err := lock.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	update("renewing it after somebody had to look", mine, 1)
	now = now.Add(time.Minute)
	inner.fails = errors.New("no")
	update("failing", mine, 1)
	inner.fails = nil
	update("renewing it after a failure", mine, 1)
}
