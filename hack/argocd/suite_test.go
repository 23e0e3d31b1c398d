package main

// The states keep the objects that GitOps tools are tested with real: every state
// that a ProviderToken can be in is played with the operator itself and an API
// server, and what the operator wrote is compared with the files in
// test/gitops/testdata. There, Argo CD's and Flux's own code judges them.
//
//	go test ./hack/argocd -update    writes the files anew

import (
	"flag"
	"path/filepath"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/providertoken/operator/api/v1alpha1"
)

var update = flag.Bool("update", false, "write test/gitops/testdata anew")

// The real API server that all states share; each has a namespace of its own.
var (
	apiServer *rest.Config
	k8s       client.Client
	scheme    = runtime.NewScheme()
)

func TestStates(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "the states of a ProviderToken")
}

var _ = BeforeSuite(func() {
	ctrl.SetLogger(zap.New(zap.WriteTo(GinkgoWriter), zap.UseDevMode(true)))
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join("..", "..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	environment.ControlPlane.Etcd = &envtest.Etcd{}
	environment.ControlPlane.Etcd.Configure().Append("unsafe-no-fsync", "true")
	var err error
	apiServer, err = environment.Start()
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(environment.Stop)
	apiServer.QPS = -1
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	k8s, err = client.New(apiServer, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
})
