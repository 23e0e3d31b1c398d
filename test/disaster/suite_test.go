// Package disaster is what is lost, restored and found twice, and what a real operator makes of it.
package disaster_test

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
	RunSpecs(t, "disaster")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })
