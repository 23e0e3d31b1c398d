package main

import (
	"strings"
	"testing"
	"time"
)

func always(string) bool { return true }
func never(string) bool  { return false }

func TestLedgerCountsAsARefreshOnlyThatOneTokenTakesAnothersPlace(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		tokens []string
		want   int
	}{
		"the first token is none":              {[]string{"a"}, 0},
		"the same token again is none":         {[]string{"a", "a"}, 0},
		"two tokens after the first are two":   {[]string{"a", "b", "c"}, 2},
		"a deleted Secret that returns is one": {[]string{"a", "", "a", "b"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var l ledger
			for _, token := range c.tokens {
				l.publish(content{token: token, expires: at}, at)
			}
			if l.refreshes != c.want {
				t.Errorf("refreshes = %d, want %d", l.refreshes, c.want)
			}
		})
	}
}

func TestLedgerNotesALapse(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		holds   content
		accepts func(string) bool
		want    string
	}{
		"none while there is no token":           {content{}, never, ""},
		"none while the token lives":             {content{token: "a", expires: at.Add(time.Nanosecond)}, always, ""},
		"at the very moment of expiry":           {content{token: "a", expires: at}, always, "past its expires-at"},
		"when expires-at cannot be read":         {content{token: "a"}, always, "past its expires-at"},
		"when the provider refuses it before it": {content{token: "a", expires: at.Add(time.Hour)}, never, "refuses"},
	} {
		t.Run(name, func(t *testing.T) {
			l := ledger{name: "x", now: c.holds}
			if began := l.check(at, c.accepts); began != (c.want != "") {
				t.Errorf("check = %t", began)
			}
			err := lapsesOf([]*ledger{&l})
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("lapses: %v, want %q", err, c.want)
			}
		})
	}
}

func TestLedgerMeasuresALapseFromItsFirstSampleToItsLast(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := ledger{name: "x", now: content{token: "a", expires: at}}
	for i := range 5 {
		l.check(at.Add(time.Duration(i)*100*time.Millisecond), always)
	}
	l.publish(content{token: "b", expires: at.Add(time.Hour)}, at)
	l.check(at.Add(500*time.Millisecond), always)
	l.check(at.Add(2*time.Hour), always)
	if len(l.lapses) != 2 {
		t.Fatalf("%d lapses, want 2: %v", len(l.lapses), l.lapses)
	}
	if got := l.lapses[0].to.Sub(l.lapses[0].from); got != 400*time.Millisecond {
		t.Errorf("the first lasted %s, want 400ms", got)
	}
}

func TestShortOfNamesWhatWasRefreshedTooSeldom(t *testing.T) {
	ledgers := []*ledger{{name: "good", refreshes: 2}, {name: "bad", refreshes: 1, state: "NoToken"}}
	err := shortOf(ledgers, 2)
	if err == nil || !strings.Contains(err.Error(), "bad") || strings.Contains(err.Error(), "good") {
		t.Errorf("shortOf = %v", err)
	}
	if err := shortOf(ledgers[:1], 2); err != nil {
		t.Errorf("shortOf = %v, want nil", err)
	}
}

func TestFingerprintDoesNotShowTheToken(t *testing.T) {
	c := content{token: "secret"}
	if got := c.fingerprint(); len(got) != 8 || strings.Contains(got, "secret") || got == (content{token: "other"}).fingerprint() {
		t.Errorf("fingerprint = %q", got)
	}
}
