package crash

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"
)

// chain is a ledger with a token that was rotated once, by the book.
func chain() *ledger {
	l := newLedger()
	l.authorized("r0")
	l.wrote("r0", &intent{ID: "i0"})
	l.arrived("r0")
	l.judged("r0", answer{Access: "a1", Refresh: "r1"})
	return l
}

func TestTheLedgerFindsWhatMustNotHappen(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*ledger)
		want int
	}{
		"nothing wrong": {func(l *ledger) {
			l.wrote("r1", nil)
			l.publishing("a1")
			l.wrote("r1", &intent{ID: "i1"})
			l.arrived("r1")
		}, 0},
		"one replay of an open intent": {func(l *ledger) {
			l.wrote("r0", &intent{ID: "i1", Replays: 1})
			l.arrived("r0")
		}, 0},
		"use although the successor was stored": {func(l *ledger) {
			l.wrote("r1", nil)
			l.wrote("r0", &intent{ID: "i1", Replays: 1})
			l.arrived("r0")
		}, 1},
		"use without an intent": {func(l *ledger) {
			l.wrote("r1", nil)
			l.arrived("r1")
		}, 1},
		"two uses for one intent":    {func(l *ledger) { l.arrived("r0") }, 1},
		"publication before storage": {func(l *ledger) { l.publishing("a1") }, 1},
		"a second replay": {func(l *ledger) {
			l.wrote("r0", &intent{ID: "i2", Replays: 2})
			l.arrived("r0")
		}, 1},
		"a replay that the intent does not tell": {func(l *ledger) {
			l.wrote("r0", &intent{ID: "i3"})
			l.arrived("r0")
		}, 1},
		"two uses at once": {func(l *ledger) {
			l.wrote("r0", &intent{ID: "i1", Replays: 1})
			l.inUse["r0"] = true
			l.arrived("r0")
		}, 1},
	} {
		l := chain()
		c.do(l)
		if got := l.found(); len(got) != c.want {
			t.Errorf("%s: found %q", name, got)
		}
	}
}

func TestBothServersRevokeTheFamilyWhenAUsedTokenComesBack(t *testing.T) {
	ory, err := newFositeServer(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	keycloak, err := newKeycloakServer(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keycloak.sim.Close)
	for name, server := range map[string]authorizationServer{"fosite": ory, "keycloak": keycloak} {
		first, err := server.Authorize(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		refresh := func(token string) answer {
			var a answer
			_, body := ask(t.Context(), server, url.Values{"grant_type": {"refresh_token"}, "client_id": {server.ClientID()}, "refresh_token": {token}})
			if err := json.Unmarshal(body, &a); err != nil {
				t.Fatalf("%s: %v in %s", name, err, body)
			}
			return a
		}
		second := refresh(first)
		if second.Refresh == "" || second.Refresh == first || !server.Accepts(t.Context(), second.Access) {
			t.Fatalf("%s does not rotate: %+v", name, second)
		}
		third := refresh(second.Refresh)
		if again := refresh(first); again.Error != "invalid_grant" {
			t.Errorf("%s: a used token got %+v", name, again)
		}
		if after := refresh(third.Refresh); after.Error != "invalid_grant" {
			t.Errorf("%s: the family lives on: %+v", name, after)
		}
		if server.Accepts(t.Context(), third.Access) {
			t.Errorf("%s: the access token lives on", name)
		}
	}
}
