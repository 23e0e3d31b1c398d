package lockout

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func noon() time.Time { return time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC) }

func TestAThawedLoginIsTriedOnceAndFrozenForLongerWhenItIsRefused(t *testing.T) {
	frozen := Record{Tries: []time.Time{noon().Add(-10 * time.Minute), noon().Add(-9 * time.Minute)}, Frozen: noon().Add(21 * time.Minute), Probes: 2}
	if frozen.Freeze(noon()).Until.IsZero() {
		t.Fatal("it was to be frozen")
	}
	thawed := frozen.Thawed(noon())
	if got := thawed.Freeze(noon()); !got.Until.IsZero() {
		t.Errorf("frozen until %s", got.Until)
	}
	tried := thawed
	tried.Tries = append(tried.Tries, noon())
	if got := tried.Freeze(noon().Add(time.Minute)); got.Until.IsZero() {
		t.Error("a second login is allowed before the outcome of the first is known")
	}
	if got, want := tried.Refused(noon(), false).Frozen, noon().Add(60*time.Minute); !got.Equal(want) {
		t.Errorf("frozen until %s, want %s: thawing must not make refusals cheap", got, want)
	}
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	want := Record{Tries: []time.Time{noon()}, Frozen: noon().Add(time.Hour), Probes: 3}
	text, err := want.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(text)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Parse("spoilt"); err == nil {
		t.Error("what is no record was read as one")
	}
}

func TestTheLatestUsersAreKept(t *testing.T) {
	users := ""
	for i := range UsersMax + 3 {
		users = WithUser(users, fmt.Sprintf("ns/t%d", i))
	}
	users = WithUser(users, "ns/t5")
	got := Users(users)
	if len(got) != UsersMax || got[0] != "ns/t3" || got[UsersMax-1] != "ns/t5" || strings.Count(users, "ns/t5,") > 0 {
		t.Errorf("%v", got)
	}
}
