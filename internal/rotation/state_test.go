package rotation

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/internal/token"
)

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func want(change ...func(*Want)) Want {
	w := Want{
		Owner:  types.NamespacedName{Namespace: "ns", Name: "pt"},
		Secret: "login", Key: TokenKey, Token: token.NewSecret("r0"), Patience: 30 * time.Second,
	}
	for _, c := range change {
		c(&w)
	}
	return w
}

// stored is a state Secret whose token was rotated to r7.
func stored(change ...func(*state)) state {
	st := state{
		object:  &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "login-rotation", UID: "u1", ResourceVersion: "5"}},
		current: token.NewSecret("r7"),
		record:  record{Version: recordVersion, UID: "u1", Seed: want().seed(), Seen: "seen"},
	}
	for _, c := range change {
		c(&st)
	}
	return st
}

func used(w *Want)                      { w.Used = true }
func confirm(w *Want)                   { w.Confirmation = "now" }
func seenAlready(w *Want)               { w.Confirmation = "seen" }
func replaced(w *Want)                  { w.Token = token.NewSecret("fresh") }
func liveUntil(t time.Time) func(*Want) { return func(w *Want) { w.ReplayFrom = t } }
func open(replays int) func(*state) {
	return func(st *state) {
		st.record.Intent = &intent{ID: "old", OpenedAt: noon().Add(-time.Hour), Until: noon().Add(-time.Hour), Replays: replays}
	}
}
func openUntil(t time.Time) func(*state) {
	return func(st *state) { st.record.Intent = &intent{ID: "old", OpenedAt: noon(), Until: t} }
}
func turnedDown(st *state) { at := noon(); st.record.RefusedAt = &at }
func copied(st *state)     { st.record.UID = "another" }
func unclaimed(st *state)  { st.record.UID, st.current = "", token.Secret{} }
func doubtful(st *state)   { st.record.Doubtful = true }
func spoilt(st *state)     { st.record, st.unreadable = record{Version: recordVersion}, true }

func TestNextDecidesWhetherATokenMayBeUsed(t *testing.T) {
	later := noon().Add(time.Minute)
	for name, c := range map[string]struct {
		state   state
		want    Want
		hold    Reason // "" means that it may be used
		at      time.Time
		token   string
		replays int
	}{
		"a new credential":                         {state: stored(unclaimed), want: want(), token: "r0"},
		"its successor":                            {state: stored(), want: want(used), token: "r7"},
		"another credential by a person":           {state: stored(), want: want(replaced), token: "fresh"},
		"an old credential put back by a tool":     {state: stored(func(st *state) { st.record.Spent = []string{want(replaced).seed()} }), want: want(replaced), token: "r7"},
		"a confirmation that nothing asked for":    {state: stored(), want: want(confirm), token: "r7"},
		"an open intent, no live token":            {state: stored(open(0)), want: want(), token: "r7", replays: 1},
		"an open intent, a live token":             {state: stored(open(0)), want: want(liveUntil(later)), hold: Unknown, at: later},
		"an open intent, the token nearly expired": {state: stored(open(0)), want: want(liveUntil(noon())), token: "r7", replays: 1},
		"an exchange that may not be over":         {state: stored(openUntil(noon())), want: want(), hold: Unknown, at: noon().Add(settling)},
		"the same, confirmed":                      {state: stored(openUntil(noon())), want: want(confirm), hold: Unknown, at: noon().Add(settling)},
		"an open intent, a live token, confirmed":  {state: stored(open(0)), want: want(confirm, liveUntil(later)), token: "r7", replays: 1},
		"a replay without an answer":               {state: stored(open(1)), want: want(), hold: Lost, at: noon().Add(-time.Hour)},
		"the same, the confirmation is old":        {state: stored(open(1)), want: want(seenAlready), hold: Lost, at: noon().Add(-time.Hour)},
		"the same, confirmed anew":                 {state: stored(open(1)), want: want(confirm), token: "r7", replays: 2},
		"the lost one, another credential":         {state: stored(open(1)), want: want(replaced), token: "fresh"},
		"a refusal":                                {state: stored(turnedDown), want: want(), hold: Refused, at: noon()},
		"a refusal, confirmed":                     {state: stored(turnedDown), want: want(confirm), token: "r7", replays: 1},
		"a refusal, another credential":            {state: stored(turnedDown), want: want(replaced), token: "fresh"},
		"a copy out of a backup":                   {state: stored(copied), want: want(), hold: Doubtful},
		"the same, another credential":             {state: stored(copied), want: want(replaced), hold: Doubtful},
		"the same, confirmed at that moment":       {state: stored(copied), want: want(confirm), hold: Doubtful},
		"a state that knows of no use":             {state: stored(unclaimed), want: want(used), hold: Doubtful},
		"a spoilt record":                          {state: stored(spoilt), want: want(), hold: Doubtful},
		"a doubt that is written down":             {state: stored(doubtful), want: want(), hold: Doubtful},
		"the same, confirmed later":                {state: stored(doubtful), want: want(confirm), token: "r7"},
		"the same, another credential later":       {state: stored(doubtful), want: want(replaced), token: "fresh"},
		"the token in use, written back":           {state: stored(open(0)), want: want(func(w *Want) { w.Token = token.NewSecret("r7") }), token: "r7", replays: 1},
	} {
		next, hold := c.state.next(c.want, noon(), "new", nil)
		if (hold == nil) != (c.hold == "") || hold != nil && hold.Reason != c.hold {
			t.Errorf("%s: got hold %+v", name, hold)
			continue
		}
		if hold != nil {
			if !hold.At.Equal(c.at) {
				t.Errorf("%s: got at %s", name, hold.At)
			}
			continue
		}
		in := next.record.Intent
		if next.current.Reveal() != c.token || in == nil || in.ID != "new" || in.Replays != c.replays {
			t.Errorf("%s: got the token %q with %+v", name, next.current.Reveal(), in)
		}
		if !in.Until.Equal(noon().Add(30*time.Second)) || next.record.Seen != c.want.Confirmation {
			t.Errorf("%s: got %+v", name, next.record)
		}
	}
}

func TestADoubtIsWrittenDownSuchThatOnlyALaterActOfAPersonEndsIt(t *testing.T) {
	w := want(confirm)
	marked, hold := stored(copied, open(0)).next(w, noon(), "new", nil)
	if hold == nil || marked == nil || !marked.record.Doubtful || marked.record.Seen != "now" || marked.record.Intent != nil {
		t.Fatalf("got %+v, %+v", marked, hold)
	}
	marked.record.UID = marked.object.UID // as written
	if _, hold := marked.next(w, noon(), "new", nil); hold == nil {
		t.Error("the confirmation that was there before counts")
	}
	w.Confirmation = "later"
	if next, _ := marked.next(w, noon(), "new", nil); next == nil || next.current.Reveal() != "r7" {
		t.Error("a later confirmation does not count")
	}
}

func TestARestoredCopyThatIsOlderThanTheCredentialIsNotTheOneToUse(t *testing.T) {
	marked, _ := stored(copied).next(want(replaced), noon(), "new", nil)
	marked.record.UID = marked.object.UID
	next, hold := marked.next(want(replaced, confirm), noon(), "new", nil)
	if hold != nil || next.current.Reveal() != "fresh" {
		t.Errorf("got %+v, %+v", next, hold)
	}
}

func TestAnIntentThatWasCertainlyNotFollowedByAUseCountsForNothing(t *testing.T) {
	next, hold := stored(open(0)).next(want(liveUntil(noon().Add(time.Hour))), noon(), "new", []string{"old"})
	if hold != nil || next.record.Intent.Replays != 0 {
		t.Errorf("got %+v, %+v", next, hold)
	}
}

func TestTheStateHasANameOfItsOwnForEachSecretAndKey(t *testing.T) {
	if got := StateName("login", TokenKey); got != "login-rotation" {
		t.Errorf("got %s", got)
	}
	long := strings.Repeat("a", 253)
	names := map[string]bool{}
	for _, n := range []string{StateName("login", "x"), StateName("login", "y"), StateName(long, TokenKey), StateName(long, "x"), StateName(long[1:]+"b", TokenKey)} {
		if len(n) > 253 || names[n] {
			t.Errorf("%s is too long or not its own", n)
		}
		names[n] = true
	}
}

func TestTheStateSecretStaysSmall(t *testing.T) {
	st := stored()
	for i := range 100 {
		w := want(func(w *Want) { w.Token = token.NewSecret("fresh" + strconv.Itoa(i)) })
		next, hold := st.next(w, noon(), "new", nil)
		if hold != nil {
			t.Fatal(hold)
		}
		next.record.Intent = nil
		st = *next
	}
	s, err := st.encode("ns/pt")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Data[RecordKey]) > 4<<10 {
		t.Errorf("the record has %d bytes", len(s.Data[RecordKey]))
	}
}

func TestAStateIsReadAsItWasWritten(t *testing.T) {
	expires := noon()
	st := stored(open(1), func(st *state) { st.record.ExpiresAt = &expires })
	s, err := st.encode("ns/pt")
	if err != nil {
		t.Fatal(err)
	}
	back := parse(s)
	one, _ := json.Marshal(st.record)
	two, _ := json.Marshal(back.record)
	if !bytes.Equal(one, two) || back.current != st.current || back.unreadable {
		t.Errorf("got %s for %s", two, one)
	}
	if s.Labels[StateLabel] != StateValue || s.Annotations[ClaimAnnotation] != "ns/pt" || len(s.OwnerReferences) > 0 || s.Immutable != nil {
		t.Errorf("got %+v", s.ObjectMeta)
	}
}

func TestAStateThatWentBackIsNotBelieved(t *testing.T) {
	version := func(v string) func(*state) { return func(st *state) { st.object.ResourceVersion = v } }
	newest, yesterday := stored(version("90")), stored(version("50"), func(st *state) { st.current = token.NewSecret("r3") })
	got := yesterday.unless(&newest)
	if got.current.Reveal() != "r7" || got.object.ResourceVersion != "50" {
		t.Errorf("the cluster was put back: got token %s onto version %s", got.current.Reveal(), got.object.ResourceVersion)
	}
	later := stored(version("91"), func(st *state) { st.current = token.NewSecret("r8") })
	if later.unless(&newest).current.Reveal() != "r8" {
		t.Error("what somebody else wrote afterwards counts")
	}
	another := stored(version("50"), func(st *state) { st.object.UID = "u2" })
	if another.unless(&newest) != &another || another.unless(nil) != &another {
		t.Error("another Secret counts for itself")
	}
}
