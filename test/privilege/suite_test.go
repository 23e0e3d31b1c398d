// Package privilege lets a real operator do all that it does with the rights that ship, and no more.
package privilege_test

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
	RunSpecs(t, "privilege")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })
