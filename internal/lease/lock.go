package lease

import (
	"context"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Sparing is a lock whose holder renews it less often than others look at it: client-go
// has one period for both. So a standby notices within that period that the Lease was
// released, and a leader costs the API server no more writes than otherwise.
//
// It is for one elector, which calls it from one goroutine at a time.
type Sparing struct {
	resourcelock.Interface
	// Every is the least time between two renewals; far below the duration of the Lease.
	Every time.Duration
	// Now is the clock.
	Now func() time.Time

	wrote time.Time
}

// Update writes the record, unless it only says again what was written a moment ago.
func (l *Sparing) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	now := l.Now()
	since := max(now.Sub(l.wrote), now.Round(0).Sub(l.wrote.Round(0))) // as in Term.Running
	if record.HolderIdentity == l.Identity() && !l.wrote.IsZero() && since < l.Every {
		return nil
	}
	l.wrote = time.Time{}
	if err := l.Interface.Update(ctx, record); err != nil {
		return err
	}
	if record.HolderIdentity == l.Identity() {
		l.wrote = now
	}
	return nil
}

// Get reads the record. Whoever has to look does not rely on what it wrote.
func (l *Sparing) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.wrote = time.Time{}
	return l.Interface.Get(ctx)
}
