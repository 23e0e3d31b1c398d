// Package scale looks at what happens when there are many ProviderTokens: who waits for
// whom, what an edit that concerns all of them costs, how they come back after an
// outage, and what each of them takes of memory. Its assertions are about counts and
// order, never about wall time. SCALE=10 (or more) multiplies the objects.
package scale_test

import (
	"os"
	"strconv"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	testworld "github.com/providertoken/operator/test/world"
)

// server is the real API server that all specs share.
var server *testworld.Server

func TestScale(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "scale")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })

// many is n times SCALE.
func many(n int) int {
	factor, err := strconv.Atoi(os.Getenv("SCALE"))
	if err != nil || factor < 1 {
		return n
	}
	return n * factor
}
