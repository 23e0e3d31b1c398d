package crash

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

const subject = "a/token"

// tale is a chronicle that is told second by second.
type tale struct {
	*chronicle
	revision int
}

func at(second float64) time.Time {
	return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).Add(time.Duration(second * float64(time.Second)))
}

// mint issues a token of 60 s that is due after 25 s.
func (x *tale) mint(second float64, process int, token string) {
	x.minted(mint{object: subject, process: process, sent: at(second), answered: at(second + 0.1), token: token, expires: at(second + 60)})
}

// write lets a process write a target; a negative one is nobody that is known.
func (x *tale) write(second float64, process int, token string, due float64, handled string) {
	x.revision++
	revision := strconv.Itoa(x.revision)
	x.saw(version{object: subject, revision: revision, seen: at(second + 0.1), token: token, refreshAt: at(due), handled: handled})
	if process > 0 {
		x.wrote(revision, write{process: process, at: at(second)})
	}
}

// round is a mint and its write.
func (x *tale) round(second float64, process int, token string) {
	x.mint(second, process, token)
	x.write(second+0.2, process, token, second+25, "")
}

func (x *tale) person(second float64, what kind, value string) {
	x.did(deed{kind: what, object: subject, began: at(second), done: at(second + 0.1), value: value})
}

// spoil is a person's edit of the target.
func (x *tale) spoil(second float64) {
	x.write(second, 0, "not a token", second+25, "")
	x.did(deed{kind: targetEdited, object: subject, began: at(second), done: at(second + 0.2), revision: strconv.Itoa(x.revision)})
}

func (x *tale) vanish(second float64) {
	x.revision++
	x.saw(version{object: subject, revision: strconv.Itoa(x.revision), seen: at(second), gone: true})
}

func TestTheAuditFindsWhatMustNotHappen(t *testing.T) {
	type counts struct{ published, inFlight, dropped, double, lost, odd int }
	for name, c := range map[string]struct {
		tell    func(*tale)
		want    counts
		expired time.Duration
		held    time.Duration
		end     float64 // 55 when left out
	}{
		"refreshes when due":                {func(x *tale) { x.round(0, 1, "a"); x.round(26, 1, "b") }, counts{published: 2}, 0, 0, 0},
		"a refresh that nothing called for": {func(x *tale) { x.round(0, 1, "a"); x.round(5, 1, "b") }, counts{published: 2, double: 1}, 0, 0, 0},
		"a restart that mints": {func(x *tale) {
			x.round(0, 1, "a")
			x.ended(1, at(4))
			x.round(5, 2, "b")
		}, counts{published: 2, double: 1}, 0, 0, 0},
		"a mint that was in flight at a kill": {func(x *tale) {
			x.round(0, 1, "a")
			x.mint(26, 1, "b")
			x.ended(1, at(26.2))
			x.round(28, 2, "c")
		}, counts{published: 2, inFlight: 1}, 0, 0, 0},
		"a token that a living process forgot": {func(x *tale) {
			x.round(0, 1, "a")
			x.mint(26, 1, "b")
			x.round(27, 1, "c")
		}, counts{published: 2, double: 1}, 0, 0, 0},
		"a token that was never written": {func(x *tale) { x.round(0, 1, "a"); x.mint(26, 1, "b") }, counts{published: 1, double: 1}, 0, 0, 0},
		"a token that was not written for long": {func(x *tale) {
			x.round(0, 1, "a")
			x.mint(26, 1, "b")
			x.ended(1, at(50))
		}, counts{published: 1, double: 1}, 0, 0, 0},
		"a former leader that mints": {func(x *tale) {
			x.round(0, 1, "a")
			x.ended(1, at(10))
			x.round(26, 2, "b")
			x.mint(27, 1, "c")
		}, counts{published: 2, double: 1}, 0, 0, 0},
		"a former leader that mints what is due": {func(x *tale) {
			x.round(0, 1, "a")
			x.ended(1, at(10))
			x.mint(26, 1, "b")
			x.round(27, 2, "c")
		}, counts{published: 2, double: 1}, 0, 0, 0},
		"a write of a stopped process that comes when the next one asks already": {func(x *tale) {
			x.round(0, 1, "a")
			x.mint(26, 1, "b")
			x.ended(1, at(26.1))
			x.write(41, 1, "b", 51, "")
			x.round(41.5, 2, "c")
		}, counts{published: 3}, 0, 0, 0},
		"a write of a stopped process that the next one must have seen": {func(x *tale) {
			x.round(0, 1, "a")
			x.mint(26, 1, "b")
			x.ended(1, at(26.1))
			x.write(30, 1, "b", 51, "")
			x.round(41.5, 2, "c")
		}, counts{published: 3, double: 1}, 0, 0, 0},
		"a refresh request": {func(x *tale) {
			x.round(0, 1, "a")
			x.person(5, requested, "1")
			x.mint(6, 1, "b")
			x.write(6.2, 1, "b", 31, "1")
		}, counts{published: 2}, 0, 0, 0},
		"a refresh request that is served twice": {func(x *tale) {
			x.round(0, 1, "a")
			x.person(5, requested, "1")
			x.mint(6, 1, "b")
			x.write(6.2, 1, "b", 31, "1")
			x.round(8, 1, "c")
		}, counts{published: 3, double: 1}, 0, 0, 0},
		"a process that minted twice when it ended": {func(x *tale) {
			x.round(0, 1, "a")
			x.mint(26, 1, "b")
			x.ended(1, at(26.3))
			x.mint(26.2, 1, "c")
		}, counts{published: 1, inFlight: 1, double: 1}, 0, 0, 0},
		"an edit": {func(x *tale) {
			x.round(0, 1, "a")
			x.person(5, edited, "")
			x.round(6, 1, "b")
		}, counts{published: 2}, 0, 0, 0},
		"an edit that is served twice": {func(x *tale) {
			x.round(0, 1, "a")
			x.person(5, edited, "")
			x.round(6, 1, "b")
			x.round(8, 1, "c")
		}, counts{published: 3, double: 1}, 0, 0, 0},
		"an edit that overtakes a mint": {func(x *tale) {
			x.round(0, 1, "a")
			x.mint(26, 1, "b")
			x.person(26, edited, "")
			x.round(27, 1, "c")
		}, counts{published: 2, dropped: 1}, 0, 0, 0},
		"a deletion long ago excuses no forgotten token": {func(x *tale) {
			x.round(0, 1, "a")
			x.person(1, removed, "")
			x.person(2, recreated, "")
			x.mint(26, 1, "b")
			x.round(27, 1, "c")
		}, counts{published: 2, double: 1}, 0, 0, 0},
		"a target that a person deletes, and a new process": {func(x *tale) {
			x.round(0, 1, "a")
			x.ended(1, at(4))
			x.person(5, targetRemoved, "")
			x.vanish(5.05)
			x.round(6, 2, "b")
		}, counts{published: 2}, 0, 0, 0},
		"a target that a person deletes, and the same process": {func(x *tale) {
			x.round(0, 1, "a")
			x.person(5, targetRemoved, "")
			x.vanish(5.05)
			x.round(6, 1, "b")
		}, counts{published: 2, double: 1}, 0, 0, 0},
		"a repair of what a person spoilt": {func(x *tale) {
			x.round(0, 1, "a")
			x.spoil(5)
			x.write(6, 1, "a", 25, "")
		}, counts{published: 1}, 0, 0, 0},
		"a target that vanishes": {func(x *tale) { x.round(0, 1, "a"); x.vanish(5) }, counts{published: 1, lost: 1, odd: 1}, 0, 0, 0},
		"a target that vanishes long after somebody deleted it once": {func(x *tale) {
			x.round(0, 1, "a")
			x.person(5, targetRemoved, "")
			x.vanish(5.05)
			x.write(6, 1, "a", 25, "")
			x.vanish(20)
		}, counts{published: 1, lost: 1, odd: 1}, 0, 0, 0},
		"an operator that empties a target": {func(x *tale) { x.round(0, 1, "a"); x.write(5, 1, "", 25, "") }, counts{published: 1, lost: 1}, 0, 0, 0},
		"an older token in place of a newer one": {func(x *tale) {
			x.round(0, 1, "a")
			x.round(26, 2, "b")
			x.write(27, 1, "a", 25, "")
		}, counts{published: 2, lost: 1}, 0, 0, 0},
		"somebody else's token": {func(x *tale) { x.round(0, 1, "a"); x.write(5, 1, "z", 25, "") }, counts{published: 1, lost: 1}, 0, 0, 0},
		"an expired token that is written": {func(x *tale) {
			x.round(0, 1, "a")
			x.write(61, 1, "a", 25, "")
			x.round(61.5, 1, "b")
		}, counts{published: 2, lost: 1}, 1900 * time.Millisecond, 0, 70},
		"a version that nobody is known to have written": {func(x *tale) {
			x.round(0, 1, "a")
			x.write(5, -1, "a", 25, "")
		}, counts{published: 1, odd: 1}, 0, 0, 0},
		"a refresh that comes two seconds late": {func(x *tale) { x.round(0, 1, "a"); x.round(61.7, 1, "b") }, counts{published: 2}, 2 * time.Second, 0, 70},
		"a refresh that comes late, while there was no ProviderToken": {func(x *tale) {
			x.round(0, 1, "a")
			x.person(59, removed, "")
			x.person(62.9, recreated, "")
			x.round(62.7, 1, "b")
		}, counts{published: 2}, 0, 0, 70},
		"a refresh that comes late, while the login was frozen": {func(x *tale) {
			x.round(0, 1, "a")
			x.froze(subject, true, at(30))
			x.froze(subject, false, at(61))
			x.round(61.7, 1, "b")
		}, counts{published: 2}, 2 * time.Second, time.Second, 70},
		"a token that is expired at the end": {func(x *tale) { x.round(30, 1, "a") }, counts{published: 1}, 10 * time.Second, 0, 100},
	} {
		x := &tale{chronicle: newChronicle()}
		c.tell(x)
		b := x.audit(at(max(c.end, 55)))
		got := counts{b.Published, b.InFlight, b.Dropped, len(b.Double), len(b.Lost), len(b.Odd)}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v: %q %q %q", name, got, c.want, b.Double, b.Lost, b.Odd)
		}
		if b.Expired.Round(time.Millisecond) != c.expired || b.Held.Round(time.Millisecond) != c.held {
			t.Errorf("%s: expired for %s, of which %s held back; want %s and %s: %q", name, b.Expired, b.Held, c.expired, c.held, b.Late)
		}
	}
}

func TestAWindowCountsWhatFallsIntoIt(t *testing.T) {
	instants := []time.Time{at(0), at(1), at(899), at(900), at(901), at(5000)}
	for window, want := range map[time.Duration]int{time.Second: 1, 2 * time.Second: 2, loginWindow: 3, 901 * time.Second: 4} {
		if got := mostWithin(instants, window); got != want {
			t.Errorf("%s: %d, want %d", window, got, want)
		}
	}
}

func TestOnlyALoginThatIsFrozenForLongerCounts(t *testing.T) {
	at := func(seconds int) time.Time {
		return time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
	}
	c := newChronicle()
	c.froze("for a moment, twice", true, at(0))
	c.froze("for a moment, twice", false, at(20))
	c.froze("for a moment, twice", true, at(21))
	c.froze("for a moment, twice", false, at(45))
	c.froze("until it was over", true, at(0))
	c.froze("until it was over", false, at(31))
	c.froze("still", true, at(10))
	if got, want := c.frozen(30*time.Second, at(41)), []string{"still", "until it was over"}; !slices.Equal(got, want) {
		t.Errorf("frozen: %v, want %v", got, want)
	}
}
