package disaster_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/providertoken/operator/api/v1alpha1"
	testworld "github.com/providertoken/operator/test/world"
)

// commands are those that a person runs by docs/disaster-recovery.md, each with what does the same here.
var commands = []string{
	// reauthorize
	`kubectl -n TEAM patch secret rotating-login --type merge -p '{"stringData":{"refresh_token":"NEW"}}'`,
	// internal/controller: "is not used out of a restored backup before a person says so"
	`kubectl -n TEAM annotate ptok rotating --overwrite ` + v1alpha1.ConfirmAnnotation + `="$(date)"`,
	// stop, DeleteAllOf with that label, and w.Operator in the spec of etcd
	`kubectl -n providertoken-system scale deployment providertoken-manager --replicas 0`,
	`kubectl delete secret --all-namespaces -l ` + stateSelector,
	`kubectl -n providertoken-system scale deployment providertoken-manager --replicas 2`,
	// internal/controller: "is not tried when it cannot be written down first"
	`kubectl -n providertoken-system delete secret ` + keySecret,
	// internal/controller: "is tried again at once when a person deletes the record and asks for a refresh"
	`kubectl -n providertoken-system delete configmap -l ` + recordSelector,
	`kubectl -n TEAM annotate ptok NAME --overwrite ` + v1alpha1.RefreshRequestedAtAnnotation + `="$(date)"`,
}

const (
	stateSelector  = "providertoken.dev/state=rotation"
	keySecret      = "providertoken-login-key"
	recordSelector = "providertoken.dev/login-record"
)

var _ = Describe("docs/disaster-recovery.md", func() {
	It("says to run what the specs do, and nothing else", func() {
		page, err := os.ReadFile(filepath.Join(testworld.Root(), "docs", "disaster-recovery.md"))
		Expect(err).NotTo(HaveOccurred())
		var said []string
		for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
			said = append(said, strings.Split(strings.TrimSpace(block[1]), "\n")...)
		}
		Expect(said).To(ConsistOf(slices.Clone(commands)))
		Expect(string(page)).To(ContainSubstring(v1alpha1.CredentialsForLabel))
		Expect(string(page)).To(ContainSubstring(v1alpha1.TargetLabel + "=true"))
	})

	It("names a deployment and a namespace that there are", func() {
		installed, err := os.ReadFile(filepath.Join(testworld.Root(), "dist", "install.yaml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(installed)).To(MatchRegexp(`(?s)kind: Deployment\nmetadata:.*?name: providertoken-manager\n  namespace: providertoken-system\nspec:\n  replicas: 2`))
	})
})
