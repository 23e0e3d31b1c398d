package schedule

import (
	"testing"
	"time"
)

func BenchmarkRefreshAt(b *testing.B) {
	issued := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	expires := issued.Add(time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		RefreshAt(issued, expires, Policy{}, Seed("5f0c6b1e-0000-4000-8000-000000000001", issued))
	}
}

func BenchmarkRetryAt(b *testing.B) {
	at := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	f := Failure{Class: Unavailable, Attempt: 3, At: at, Since: at.Add(-time.Minute), Expires: at.Add(10 * time.Minute), Seed: Seed("5f0c6b1e-0000-4000-8000-000000000001", at)}
	b.ReportAllocs()
	for b.Loop() {
		RetryAt(f)
	}
}
