package controller

import (
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/token"
)

func TestNeedIsDecidedBeforeAnythingIsFetched(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	held := func(inputs string, issued time.Time) *target.Content {
		return &target.Content{
			Inputs: inputs,
			Token:  token.Token{Access: token.NewSecret("t"), IssuedAt: issued, ExpiresAt: issued.Add(time.Hour)},
		}
	}
	for _, c := range []struct {
		name string
		held *target.Content
		ask  string
		want need
	}{
		{name: "nothing there", want: needFirst},
		{name: "a fresh token", held: held("v1:a", now), want: ""},
		{name: "a token past its expiry", held: held("v1:a", now.Add(-time.Hour)), want: needExpired},
		{name: "a token a second before its expiry", held: held("v1:a", now.Add(-time.Hour+time.Second)), want: needDue},
		{name: "a token past its refresh", held: held("v1:a", now.Add(-41*time.Minute)), want: needDue},
		{name: "a token before its refresh", held: held("v1:a", now.Add(-20*time.Minute)), want: ""},
		{name: "a token for another spec", held: held("v1:b", now), want: needChanged},
		{name: "a token of another release of the operator", held: held("v2:b", now), want: ""},
		{name: "a request", held: held("v1:a", now), ask: "x", want: needRequested},
	} {
		t.Run(c.name, func(t *testing.T) {
			pt := &v1alpha1.ProviderToken{}
			if c.ask != "" {
				pt.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: c.ask}
			}
			f := &facts{now: now, pt: pt, inputs: "v1:a", held: c.held}
			if got := f.need(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// What is due in the same second begins together where that is little, and in parts where it is much.
func TestALargeFleetSpreadsItsRefreshesOverTheSecondBeforeTheyAreDue(t *testing.T) {
	for objects, want := range map[int]int{0: 0, 1999: 1, 3000: 3, 10_000: 10, 1_000_000: 20} {
		if got := parts(objects); got != want {
			t.Errorf("%d objects: %d parts, want %d", objects, got, want)
		}
	}
	issued := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	began := map[time.Duration]bool{}
	for i := range 200 {
		pt := &v1alpha1.ProviderToken{}
		pt.UID = types.UID(strconv.Itoa(i))
		held := &target.Content{Inputs: "v1:a", Token: token.Token{Access: token.NewSecret("t"), IssuedAt: issued, ExpiresAt: issued.Add(time.Hour)}}
		f := &facts{now: issued, pt: pt, inputs: "v1:a", held: held, parts: 10}
		began[f.refreshAt().Sub(f.beginAt())] = true
		f.now = f.beginAt().Add(-1)
		if need, next := f.need(), (&Reconciler{}).nextLook(f); need != "" || !next.Equal(f.beginAt()) {
			t.Fatalf("a nanosecond before it begins, at %s: need %q, the next look at %s", f.beginAt(), need, next)
		}
		f.now = f.beginAt()
		if got := f.need(); got != needDue {
			t.Fatalf("when it begins: need %q", got)
		}
		f = &facts{now: issued, pt: pt, inputs: "v1:a", held: held, parts: 1}
		if !f.beginAt().Equal(f.refreshAt()) {
			t.Fatalf("in a small fleet it begins at %s, and is due at %s", f.beginAt(), f.refreshAt())
		}
	}
	for i := range 10 {
		if !began[time.Duration(i)*time.Second/10] {
			t.Errorf("nothing begins %d tenths of a second before it is due", i)
		}
	}
}

func TestALongRefreshRequestIsShortened(t *testing.T) {
	long := make([]byte, 200<<10)
	pt := &v1alpha1.ProviderToken{}
	pt.Annotations = map[string]string{v1alpha1.RefreshRequestedAtAnnotation: string(long)}
	if got := requested(pt); len(got) > maxRequest {
		t.Errorf("%d bytes", len(got))
	}
}

func TestWaitingIsForgivenForTenMinutesFromTheFirstSign(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := &problem{Reason: v1alpha1.ReasonWaitingForCredentials, Late: v1alpha1.ReasonCredentialsNotFound, Waiting: true}
	for _, c := range []struct {
		name       string
		generation int64
		reason     string
		since      time.Duration
		late       bool
	}{
		{name: "just seen", generation: 1, reason: "", late: false},
		{name: "for nine minutes", generation: 1, reason: p.Reason, since: 9 * time.Minute, late: false},
		{name: "for ten minutes", generation: 1, reason: p.Reason, since: 10 * time.Minute, late: true},
		{name: "late already", generation: 1, reason: p.Late, since: 11 * time.Minute, late: true},
		{name: "after another problem", generation: 1, reason: v1alpha1.ReasonThrottled, since: time.Hour, late: false},
		{name: "after an edit", generation: 2, reason: p.Late, since: time.Hour, late: false},
	} {
		t.Run(c.name, func(t *testing.T) {
			pt := &v1alpha1.ProviderToken{}
			pt.Generation, pt.Status.ObservedGeneration = c.generation, 1
			if c.reason != "" {
				pt.Status.Failure = &v1alpha1.FailureStatus{Reason: c.reason}
				pt.Status.Failure.Since.Time = now.Add(-c.since)
			}
			if got := p.late(&facts{now: now, pt: pt}); got != c.late {
				t.Errorf("late: %v", got)
			}
		})
	}
}
