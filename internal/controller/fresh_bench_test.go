package controller

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// The commonest reconcile: the token is there, nobody edited anything, nothing is due.
func BenchmarkReconcile(b *testing.B) {
	for name, c := range freshObjects() {
		b.Run("of=fresh/provider="+name, func(b *testing.B) {
			s := settle(b, c.ref)
			b.ReportAllocs()
			for b.Loop() {
				s.look(b)
			}
		})
		// All three reconciles of a refresh and the exchange between them, without the network.
		b.Run("of=refresh/provider="+name, func(b *testing.B) {
			s := settle(b, c.ref)
			uid := types.UID("5f0c6b1e-0000-4000-8000-000000000001")
			b.ReportAllocs()
			for b.Loop() {
				s.clock.Step(45 * time.Minute)
				s.look(b)
				s.Scheduler.Cancel(string(uid))
				s.run(uid)(b.Context())
				s.look(b)
				s.look(b)
			}
		})
	}
}
