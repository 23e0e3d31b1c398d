// Package processes runs real operators as the Deployments of an API server say, with the
// rights that ship, and does to them what docs/scaling.md says.
package processes_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	testworld "github.com/providertoken/operator/test/world"
)

// What all specs share.
var (
	server *testworld.Server
	// directory holds the files of this run.
	directory string
	// binary is the manager, built from this checkout.
	binary string
	// adminFile is the administrator's kubeconfig.
	adminFile string
)

const (
	buildTime = 5 * time.Minute
	// soon is how long something may take on a machine that has more to do.
	soon = time.Minute
	poll = 10 * time.Millisecond
)

func TestSuite(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "shards: processes")
}

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
	server = testworld.NewServer(nil)
	admin, err := server.Environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	Expect(err).NotTo(HaveOccurred())
	kubeconfig, err := admin.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	adminFile = filepath.Join(directory, "admin")
	Expect(os.WriteFile(adminFile, kubeconfig, 0o600)).To(Succeed())
	Eventually(built).WithTimeout(buildTime).Should(BeClosed(), "the manager is built")
})

// shell runs a person's commands in the checkout, as they stand in the documentation.
func shell(ctx context.Context, commands string) string {
	GinkgoHelper()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir = testworld.Root()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+adminFile, "PATH="+os.Getenv("KUBEBUILDER_ASSETS")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s\n%s", commands, out)
	return string(out)
}

// documented are the commands of docs/scaling.md after that mark, in order.
func documented(mark string) []string {
	GinkgoHelper()
	page, err := os.ReadFile(filepath.Join(testworld.Root(), "docs", "scaling.md"))
	Expect(err).NotTo(HaveOccurred())
	var blocks []string
	for _, part := range strings.Split(string(page), fmt.Sprintf("<!-- %s -->\n```sh\n", mark))[1:] {
		commands, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, commands)
	}
	Expect(blocks).NotTo(BeEmpty(), mark)
	return blocks
}
