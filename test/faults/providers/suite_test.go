// Package providers puts a real operator through the faults of providers, each in every phase of a token's life.
package providers_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	testworld "github.com/providertoken/operator/test/world"
)

// server is the real API server that all specs share.
var server *testworld.Server

func TestFaults(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "faults: providers")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })
