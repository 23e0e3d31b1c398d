package exchange

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/providertoken/operator/internal/provider"
)

// What a job costs from Submit to its end, with so many of them queued at once.
func BenchmarkScheduler(b *testing.B) {
	for _, queued := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("queued=%d", queued), func(b *testing.B) {
			s := NewScheduler(SchedulerOptions{PerNamespace: queued, Total: queued})
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			go func() { ended <- s.Run(ctx) }()
			limits := provider.Limits{Concurrency: 1 << 20, PerSecond: 1 << 20}
			expires := time.Now().Add(time.Hour)
			keys, namespaces := make([]string, queued), make([]string, 100)
			for i := range keys {
				keys[i] = fmt.Sprintf("5f0c6b1e-0000-4000-8000-%012d", i)
			}
			for i := range namespaces {
				namespaces[i] = fmt.Sprintf("team-%d", i)
			}
			b.ReportAllocs()
			for b.Loop() {
				var all sync.WaitGroup
				all.Add(queued)
				for i, key := range keys {
					s.Submit(Job{
						Key: key, Host: "sso.example.com:443", Namespace: namespaces[i%len(namespaces)],
						Expires: expires.Add(time.Duration(i*7919%queued) * time.Second), Limits: limits,
						Run: func(context.Context) Outcome { return Outcome{} }, Done: all.Done,
					})
				}
				all.Wait()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*queued), "ns/job")
			stop()
			<-ended
		})
	}
}
