// Package privilege lets a real operator do all that it does with the rights that ship, and no more.
package privilege_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	testworld "github.com/providertoken/operator/test/world"
)

// What all specs share.
var (
	// server is a real API server that writes down what ServiceAccounts ask of it.
	server *testworld.Server
	k8s    client.Client
	// directory holds the files of this run.
	directory string
	// binary is the manager, built from this checkout.
	binary string
	// adminFile is the administrator's kubeconfig.
	adminFile string
)

func TestSuite(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "privilege")
}

const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
# Operators that run inside of this process are impersonated by the administrator.
- level: Metadata
  verbs: [delete]
  resources: [{group: "", resources: [configmaps]}]
- level: None
`

var _ = BeforeSuite(func() {
	directory = GinkgoT().TempDir()
	binary = filepath.Join(directory, "manager")
	built := make(chan string, 1)
	go func() {
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".")
		cmd.Dir = testworld.Root()
		if out, err := cmd.CombinedOutput(); err != nil {
			built <- err.Error() + ": " + string(out)
		}
		close(built)
	}()
	write(filepath.Join(directory, "audit.yaml"), auditPolicy)
	server = testworld.NewServer(func(e *envtest.Environment) {
		e.ControlPlane.GetAPIServer().Configure().
			Append("audit-policy-file", filepath.Join(directory, "audit.yaml")).
			Append("audit-log-path", auditLog())
	})
	k8s = server.Client
	admin, err := server.Environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	Expect(err).NotTo(HaveOccurred())
	kubeconfig, err := admin.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	adminFile = filepath.Join(directory, "admin")
	write(adminFile, string(kubeconfig))
	Eventually(built).WithTimeout(buildTime).Should(BeClosed(), "the manager is built")
})

func auditLog() string { return filepath.Join(directory, "audit.log") }

func write(file, content string) {
	GinkgoHelper()
	Expect(os.MkdirAll(filepath.Dir(file), 0o700)).To(Succeed())
	Expect(os.WriteFile(file, []byte(content), 0o600)).To(Succeed())
}
