package controller

import (
	"fmt"
	"testing"
	"time"
)

func TestTurnsComeBackOneByOne(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	var had turns
	for n := range extraTurns {
		cause := fmt.Sprint(n)
		if at := had.next(cause, now); !at.IsZero() {
			t.Fatalf("the turn %d has to wait until %s", n, at)
		}
		had = had.take(cause, now)
	}
	first := now.Add(extraTurnEvery)
	if at := had.next("another", now.Add(time.Second)); !at.Equal(first) {
		t.Errorf("the next turn is at %s, want %s", at, first)
	}
	if at := had.next(fmt.Sprint(extraTurns-1), now.Add(time.Second)); !at.IsZero() {
		t.Errorf("a turn that was granted has to wait until %s", at)
	}
	if at := had.next("another", first); !at.IsZero() {
		t.Errorf("at %s the next turn is at %s", first, at)
	}
	had = had.take("another", first)
	if at := had.next("yet another", first); !at.Equal(first.Add(extraTurnEvery)) {
		t.Errorf("the turn after that is at %s", at)
	}
	rested := first.Add(time.Duration(extraTurns) * extraTurnEvery)
	if got := had.at(rested); got.taken != 0 {
		t.Errorf("after a rest %d turns are remembered", got.taken)
	}
	if at := had.next("x", now.Add(-time.Hour)); at.IsZero() {
		t.Error("a clock that goes back grants a turn")
	}
}
