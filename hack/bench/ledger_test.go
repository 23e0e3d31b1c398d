package main

import (
	"testing"
	"time"
)

func at(seconds float64) time.Time {
	return time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// token asked for at that second, of 100 s.
func token(second float64) mint { return mint{client: "a", at: at(second), expires: at(second + 100)} }

func TestAReplacementTellsHowLateItWasAndWhatWasLeft(t *testing.T) {
	l := newLedger()
	l.publish("g", "a", token(0), at(0.2), at(60))
	l.publish("g", "a", token(60.5), at(61), at(120))
	got := l.replaced("", span{at(0), at(100)})
	if len(got) != 1 {
		t.Fatalf("got %d replacements", len(got))
	}
	r := got[0]
	if r.late() != time.Second || r.asked.Sub(r.planned) != 500*time.Millisecond || r.left != 39*time.Second || r.early() {
		t.Errorf("got %+v, late by %s", r, r.late())
	}
}

func TestTheSameTokenAgainIsNoReplacement(t *testing.T) {
	l := newLedger()
	l.publish("g", "a", token(0), at(1), at(60))
	l.publish("g", "a", token(0), at(30), at(50)) // its Secret was repaired, or the watch began anew
	if n := len(l.replaced("", span{at(0), at(100)})); n != 0 {
		t.Errorf("got %d replacements", n)
	}
	l.publish("g", "a", token(45), at(51), at(110))
	r := l.replaced("", span{at(0), at(100)})
	if len(r) != 1 || r[0].planned != at(50) || !r[0].early() {
		t.Errorf("the plan of the same token was not taken over: %+v", r)
	}
}

func TestExpiredTimeIsCountedToTheReplacementOrTheEnd(t *testing.T) {
	l := newLedger()
	l.publish("g", "late", token(0), at(0), at(60))
	l.publish("g", "late", token(106), at(107), at(160)) // 7 s too late
	l.publish("g", "never", token(0), at(0), at(60))
	l.publish("g", "good", token(0), at(0), at(60))
	l.publish("g", "good", token(60), at(61), at(120))
	for _, c := range []struct {
		s    span
		want time.Duration
	}{
		{span{at(0), at(100)}, 0},
		{span{at(0), at(120)}, 27 * time.Second},            // 7 s and 20 s
		{span{at(103), at(105)}, 4 * time.Second},           // two Secrets, two seconds
		{span{at(110), at(120)}, 10 * time.Second},          // one of them still
		{span{at(0), at(170)}, (7 + 70 + 10) * time.Second}, // and the good one from 160 on
	} {
		if got := l.expiredFor(c.s); got != c.want {
			t.Errorf("%v: got %s, want %s", c.s, got, c.want)
		}
	}
}

func TestGroupsAreToldApart(t *testing.T) {
	l := newLedger()
	l.publish("few", "a", token(0), at(1), at(60))
	l.publish("fewer", "a", token(0), at(2), at(60))
	if l.tokens("few") != 1 || l.tokens("") != 2 {
		t.Errorf("got %d of the group, %d of all", l.tokens("few"), l.tokens(""))
	}
	l.publish("fewer", "a", token(70), at(71), at(130))
	if n := len(l.replaced("few", span{at(0), at(100)})); n != 0 {
		t.Errorf("got %d replacements of another group", n)
	}
}

func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	var hundred []time.Duration
	for i := 100; i >= 1; i-- {
		hundred = append(hundred, time.Duration(i)*time.Second)
	}
	if got, want := distribute(hundred), (distribution{N: 100, Min: 1, P1: 1, P50: 50, P99: 99, Max: 100}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := distribute([]time.Duration{time.Second}), (distribution{N: 1, Min: 1, P1: 1, P50: 1, P99: 1, Max: 1}); got != want {
		t.Errorf("of one: got %+v, want %+v", got, want)
	}
	if got := distribute(nil); got != (distribution{}) {
		t.Errorf("of none: got %+v", got)
	}
}

func TestTheBusiestSecondIsFoundWhereverItBegins(t *testing.T) {
	instants := []time.Time{at(0), at(0.9), at(1.1), at(1.5), at(1.85), at(1.9), at(3)}
	if got := busiest(instants, time.Second); got != 4 {
		t.Errorf("got %d, want those from 0.9 to 1.85", got)
	}
	if got := busiest(nil, time.Second); got != 0 {
		t.Errorf("got %d of none", got)
	}
}
