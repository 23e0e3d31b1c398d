package controller_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

var _ = Describe("the manifests", func() {
	DescribeTable("are accepted by the API server as kubectl applies them", func(ctx SpecContext, install string, components ...string) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "providertoken-system"}}
		Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, ns))).To(Succeed())
		admin, err := server.Environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
		Expect(err).NotTo(HaveOccurred())
		kubeconfig, err := admin.KubeConfig()
		Expect(err).NotTo(HaveOccurred())
		file := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
		Expect(os.WriteFile(file, kubeconfig, 0o600)).To(Succeed())

		out, err := exec.CommandContext(ctx, kubectl(), "--kubeconfig", file, "apply",
			"--server-side", "--force-conflicts", "--dry-run=server", "-k", overlay(install, components...)).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		Expect(string(out)).To(ContainSubstring("deployment.apps/providertoken-manager"))
		Expect(string(out)).NotTo(ContainSubstring("Warning"))
	},
		Entry("for a cluster", "default"),
		Entry("for a cluster, with propagation", "default", "propagation"),
		Entry("for a cluster, with workload identity", "default", "workload-identity"),
		Entry("for a namespace", "namespaced"),
	)
})

func kubectl() string { return filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl") }

// overlay is a folder that adds components to an install, as users do.
func overlay(install string, components ...string) string {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	config, err := filepath.Abs(filepath.Join("..", "..", "config"))
	Expect(err).NotTo(HaveOccurred())
	// kustomize wants relative paths.
	path := func(name string) string {
		relative, err := filepath.Rel(dir, filepath.Join(config, name))
		Expect(err).NotTo(HaveOccurred())
		return relative
	}
	lines := []string{"resources:", "- " + path(install)}
	if len(components) > 0 {
		lines = append(lines, "components:")
	}
	for _, c := range components {
		lines = append(lines, "- "+path(c))
	}
	Expect(os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(strings.Join(lines, "\n")), 0o600)).To(Succeed())
	return dir
}
