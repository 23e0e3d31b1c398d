package controller_test

import (
	"context"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	testworld "github.com/providertoken/operator/test/world"
)

// The real API server that all specs share; each has a namespace of its own.
var (
	server    *testworld.Server
	apiServer *rest.Config
	k8s       client.Client
)

func TestController(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "controller")
}

var _ = BeforeSuite(func() {
	server = testworld.NewServer(func(e *envtest.Environment) {
		// The second one is in no list that the operator could know.
		e.ControlPlane.GetAPIServer().Configure().Append("api-audiences", "https://kubernetes.default.svc", unlistedAudience)
	})
	apiServer, k8s = server.Config, server.Client
})

// world is what a spec has for itself, with what only this suite looks at.
type world struct{ *testworld.World }

func newWorld(ctx context.Context) *world {
	GinkgoHelper()
	return &world{testworld.New(ctx, server)}
}
