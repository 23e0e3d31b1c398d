// Package leaks looks for secrets where people read. Every suite that runs operators
// by test/world does so when it ends; here are those who try to draw secrets out,
// and what a process leaves when it dies.
package leaks_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	testworld "github.com/providertoken/operator/test/world"
)

// server is the real API server that all specs share.
var server *testworld.Server

func TestLeaks(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "leaks")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })
