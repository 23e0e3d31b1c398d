// Package attacks is what a tenant, or a provider, tries against a real operator.
// SECURITY.md says which of these holds which line of the threat model.
package attacks_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	testworld "github.com/providertoken/operator/test/world"
)

// server is the real API server that all specs share.
var server *testworld.Server

// logs are all lines that any operator of this suite logged.
var logs = &journal{}

// names is the DNS of this process.
var names *nameServer

func TestSuite(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "attacks")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	names = startNameServer()
	before := net.DefaultResolver
	net.DefaultResolver = names.resolver()
	DeferCleanup(func() { net.DefaultResolver = before })
	GinkgoWriter.TeeTo(logs)
	server = testworld.NewServer(nil)

	// A tenant has the role that ships for people who edit ProviderTokens, and nothing else.
	text, err := os.ReadFile(filepath.Join(testworld.Root(), "config", "users", "editor_role.yaml"))
	Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.ClusterRole{}
	Expect(yaml.UnmarshalStrict(text, role)).To(Succeed())
	role.Name, role.Labels = editorRole, nil
	Expect(server.Client.Create(ctx, role)).To(Succeed())
})
