// Package cluster puts a real operator through the faults of the cluster that the operator runs in.
package cluster_test

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
	RunSpecs(t, "faults: cluster")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })
