package world

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/providertoken/operator/internal/controller"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
)

// stalls hold operators up at random instants, as a machine does that has other work: before
// and after what they send, and while they read. No outcome of a spec may depend on that.
//
// They are as long as the environment says in STALLS (a duration such as 300ms; the longest),
// and absent without it.
type stalls struct{ longest time.Duration }

// stallOdds is how many of what an operator does go by for each one that is held up.
const stallOdds = 6

func newStalls() stalls {
	GinkgoHelper()
	text := os.Getenv("STALLS")
	if text == "" {
		return stalls{}
	}
	longest, err := time.ParseDuration(text)
	Expect(err).NotTo(HaveOccurred(), "STALLS must be a duration, such as 300ms")
	return stalls{longest: longest}
}

// now holds up the caller, perhaps.
func (s stalls) now() {
	if s.longest > 0 && rand.IntN(stallOdds) == 0 { //nolint:gosec // when to be slow is no secret
		time.Sleep(rand.N(s.longest)) //nolint:gosec // the same
	}
}

// Wrap holds up requests, answers and what watches say.
func (s stalls) Wrap(next http.RoundTripper) http.RoundTripper {
	if s.longest == 0 {
		return next
	}
	return RoundTripper(func(r *http.Request) (*http.Response, error) {
		s.now()
		resp, err := next.RoundTrip(r)
		s.now()
		if err == nil && watches(r) {
			resp.Body = stalledBody{ReadCloser: resp.Body, stalls: s}
		}
		return resp, err
	})
}

type stalledBody struct {
	io.ReadCloser
	stalls stalls
}

// Read implements io.Reader.
func (b stalledBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.stalls.now()
	return n, err
}

// stalledExchanger holds up what goes to providers and what comes from them.
type stalledExchanger struct {
	next   controller.Exchanger
	stalls stalls
}

// Do implements controller.Exchanger.
func (e stalledExchanger) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	e.stalls.now()
	answer, err := e.next.Do(ctx, req, trust)
	e.stalls.now()
	return answer, err
}
