package controller

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/providertoken/operator/internal/lockout"
)

func TestCredentialsThatWorkAreRememberedWithoutTheirRecordAndNotForEver(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := &Logins{Now: func() time.Time { return now }}
	login := func(name string, proven bool) {
		e := l.enter(name)
		<-e.turn
		e.proven, e.untracked, e.record, e.object = proven, proven, &lockout.Record{Worked: true}, &corev1.ConfigMap{}
		(&Login{logins: l, name: name, entry: e}).release()
	}
	login("works", true)
	login("does not", false)
	if len(l.entries) != 1 || l.entries["works"].object != nil || l.entries["works"].record != nil {
		t.Errorf("this is remembered: %+v", l.entries)
	}
	now = now.Add(loginRecordLife - 1)
	busy := l.enter("busy")
	l.prune()
	if len(l.entries) != 2 {
		t.Errorf("%d credentials are known before a month has passed", len(l.entries))
	}
	now = now.Add(loginRecordLife)
	l.prune()
	if len(l.entries) != 1 || l.entries["busy"] != busy {
		t.Errorf("after a month, this is remembered: %+v", l.entries)
	}
}
