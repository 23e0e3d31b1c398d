package providers_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// slack is for the steps of the clock: it may have moved on by one before an answer was there.
const slack = 2 * time.Second

// bounds are how long after the end of its fault a cell may take to have a new
// token, and how many exchanges its provider may be asked for during the fault.
//
// While the old token works, design.md section 6 promises the next attempt within a
// share of what remains of it. The attempt before may hang until its patience ends.
func (c *cell) bounds() (within time.Duration, most int) {
	// Without a token, doubling comes to waiting as long again as the fault has lasted.
	lasted := c.until - c.from
	if c.phase != first {
		lasted = c.until - c.oldStatus.RefreshAt.Sub(c.start)
	}
	remains := max(expiry-c.until, 0)
	late := func(share time.Duration, least, without time.Duration) time.Duration {
		if c.phase == first || c.phase == over {
			return without + 5*time.Second
		}
		// The wait began when it was a share of what remained then.
		return max(remains/(share-1), least) + slack
	}
	times := func(inFirst, inRefresh, inNear, inOver int) int {
		return map[*phase]int{first: inFirst, refresh: inRefresh, near: inNear, over: inOver}[c.phase]
	}
	switch c.fault.outcome {
	case misconfigured:
		return late(8, 10*time.Second, time.Minute+lasted), times(2, 3, 12, 18)
	case denied:
		return late(2, 30*time.Second, 15*time.Minute+lasted), times(1, 2, 4, 6)
	case throttled:
		if c.fault.pause > 0 {
			return c.fault.pause + slack + 3*time.Second, times(4, 3, 7, 12)
		}
		return late(8, 30*time.Second, 30*time.Second+lasted), times(3, 2, 6, 9)
	}
	within = late(8, time.Second, time.Minute)
	if c.fault.hangs {
		within += patience // for the end of the attempt that hangs, too
	}
	return within, times(10, 10, 20, 45)
}

var _ = Describe("a token of a provider that fails", func() {
	It("is never lost, is replaced promptly, and everybody is told what happens", func(ctx SpecContext) {
		l := newLife(ctx)
		l.run(ctx)
		asserted := 0
		var problems strings.Builder
		for _, c := range l.cells {
			asserted += c.asserted
			for _, p := range c.problems {
				fmt.Fprintf(&problems, "%s, %s: %s\n", c.fault.name, c.phase.title, p)
			}
		}
		AddReportEntry("faults × phases", fmt.Sprintf("%d cells, %d assertions; exchanges during the fault / time to recover:\n%s", len(l.cells), asserted, l.measured()))
		Expect(problems.String()).To(BeEmpty())
		l.publish()
	}, SpecTimeout(5*time.Minute))
})
