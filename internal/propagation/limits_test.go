package propagation

import (
	"fmt"
	"testing"
	"time"
)

func TestLimitsLeaveRoomForOtherNamespaces(t *testing.T) {
	l := newLimits(10)
	taken := 0
	for l.take("greedy", noon()) == 0 {
		taken++
	}
	if taken != 10 {
		t.Errorf("one namespace may take %d at once, want 10: half of the burst of all", taken)
	}
	if wait := l.take("modest", noon()); wait != 0 {
		t.Errorf("another namespace waits %s", wait)
	}
}

func TestLimitsRefill(t *testing.T) {
	l := newLimits(10)
	for l.take("a", noon()) == 0 { //nolint:revive // until it is empty
	}
	wait := l.take("a", noon())
	if wait <= 0 || wait > 200*time.Millisecond {
		t.Fatalf("wait is %s, want a fifth of a second at five a second", wait)
	}
	if again := l.take("a", noon()); again != wait {
		t.Errorf("asking in vain costs something: %s, then %s", wait, again)
	}
	if left := l.take("a", noon().Add(wait)); left != 0 {
		t.Errorf("after the wait there is none: %s", left)
	}
}

func TestLimitsBoundTheTotal(t *testing.T) {
	l := newLimits(10)
	taken := 0
	for i := range 100 {
		if l.take(fmt.Sprint("ns-", i), noon()) == 0 {
			taken++
		}
	}
	if taken != 20 {
		t.Errorf("a hundred namespaces took %d at once, want 20", taken)
	}
}

func TestLimitsForgetIdleNamespaces(t *testing.T) {
	l := newLimits(1000)
	for i := range 10 * idleNamespaces {
		l.take(fmt.Sprint("ns-", i), noon().Add(time.Duration(i)*time.Second))
	}
	if len(l.namespaces) > idleNamespaces {
		t.Errorf("%d limiters are kept", len(l.namespaces))
	}
}

func TestLimitsOfOnePodASecond(t *testing.T) {
	l := newLimits(1)
	if wait := l.take("a", noon()); wait != 0 {
		t.Errorf("the smallest rate lets nobody through: %s", wait)
	}
}
