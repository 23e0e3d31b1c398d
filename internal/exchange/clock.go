package exchange

import "time"

// Clock tells the time. Both clocks of k8s.io/utils satisfy it.
type Clock interface {
	Now() time.Time
}

// AlarmClock is a Clock that also wakes: After sends once, when d has passed.
// Both clocks of k8s.io/utils satisfy it.
type AlarmClock interface {
	Clock
	After(d time.Duration) <-chan time.Time
}

// machineClock is the AlarmClock of the machine.
type machineClock struct{}

func (machineClock) Now() time.Time { return time.Now() }

func (machineClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
