// Package docs is what the documentation says, done: its manifests are applied, its
// commands run, its links followed, its pictures compared with the code.
package docs_test

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
	RunSpecs(t, "docs")
}

var _ = BeforeSuite(func() { server = testworld.NewServer(nil) })
