// Package attacks is what a tenant, or a provider, tries against a real operator.
package attacks_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	testworld "github.com/providertoken/operator/test/world"
)

// server is the real API server that all specs share.
var server *testworld.Server

func TestSuite(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "attacks")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })
