package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// These specs end and change what they run on, and have an API server of their own.
var _ = Describe("a control plane", Ordered, func() {
	var own *testworld.Server

	BeforeAll(func() {
		own = testworld.NewServer(func(e *envtest.Environment) {
			// With folders of its own it has the same certificates and data when it is back.
			e.ControlPlane.GetAPIServer().CertDir = GinkgoT().TempDir()
			e.ControlPlane.Etcd.DataDir = GinkgoT().TempDir()
		})
	})

	// A fleet is what is due when the outage comes: tokens of client credentials, and one
	// whose refresh token works once.
	type fleet struct {
		w    *faulty
		all  []*v1alpha1.ProviderToken
		once *v1alpha1.ProviderToken
		old  map[string]string
		gate *providersim.Gate
	}
	flying := func(ctx SpecContext) *fleet {
		GinkgoHelper()
		f := &fleet{w: worldOn(ctx, own), old: map[string]string{}, gate: providersim.NewGate()}
		DeferCleanup(f.gate.Release)
		f.w.Operator()
		f.w.generic(ctx)
		f.w.Sim.Generic.SetLifetime(5 * time.Minute) // like those of the other
		for i := range 6 {
			f.all = append(f.all, f.w.Create(ctx, f.w.named(fmt.Sprintf("token-%d", i))))
		}
		f.once = f.w.rotated(ctx)
		for _, pt := range append(f.all, f.once) {
			f.w.Ready(ctx, pt)
			f.w.Settle(ctx, pt)
			f.old[pt.Name] = f.w.Token(ctx, pt)
		}
		f.w.Sim.Generic.Always(providersim.HoldAnswer(f.gate))
		f.w.Sim.UP42.Always(providersim.HoldAnswer(f.gate))
		f.w.due(ctx, append(f.all, f.once)...)
		Expect(f.gate.Await(ctx, 7)).To(Succeed())
		return f
	}
	// landed waits until every token that was issued is in its Secret.
	landed := func(ctx SpecContext, f *fleet) {
		GinkgoHelper()
		began := time.Now()
		for _, pt := range append(f.all, f.once) {
			Eventually(func() string { return f.w.Token(ctx, pt) }).WithPolling(50*time.Millisecond).
				ShouldNot(Or(Equal(f.old[pt.Name]), BeEmpty()), pt.Name)
		}
		tell("all tokens written", time.Since(began).Round(100*time.Millisecond).String()+" after the control plane answered again")
		f.w.Sim.Generic.Clear()
		f.w.Sim.UP42.Clear()
		for _, pt := range append(f.all, f.once) {
			f.w.Settle(ctx, pt)
			f.w.Ready(ctx, pt)
		}
		Expect(f.w.Sim.Generic.Accepts(f.w.Token(ctx, f.all[0]))).To(BeTrue())
		Expect(f.w.Sim.UP42.Accepts(f.w.Token(ctx, f.once))).To(BeTrue())
		Expect(f.w.Sim.Generic.Issued()).To(Equal(12))
		Expect(f.w.Sim.UP42.Count(providersim.KindRefreshToken)).To(Equal(2), "uses of a refresh token that works once")
		f.w.StepToRefresh(ctx, f.once)
		Expect(f.w.Sim.UP42.Accepts(f.w.Token(ctx, f.once))).To(BeTrue())
	}
	// away lets the tokens arrive. The attempt whose refresh token has to be stored first
	// does not end before the API server says something.
	away := func(f *fleet) {
		GinkgoHelper()
		f.gate.Release()
		Eventually(func() float64 { return f.w.exchanges("success") }).Should(BeNumerically(">=", 13))
	}

	It("whose API server restarts while tokens are on their way gets each of them once", func(ctx SpecContext) {
		f := flying(ctx)
		if _, err := os.Stat("/proc/self/cmdline"); err != nil {
			Skip("needs Linux, to find the API server's process")
		}
		api := own.Environment.ControlPlane.GetAPIServer()
		f.w.MayBeForbidden = true // until an API server that has just started knows its roles
		kill("--secure-port=" + api.SecureServing.Port)
		away(f)
		Expect(api.Start()).To(Succeed())
		landed(ctx, f)
	}, SpecTimeout(2*time.Minute))

	It("whose etcd is away while tokens are on their way gets each of them once", func(ctx SpecContext) {
		f := flying(ctx)
		etcd := own.Environment.ControlPlane.Etcd
		Expect(etcd.Stop()).To(Succeed())
		away(f)
		Expect(etcd.Start()).To(Succeed())
		Eventually(func() error {
			var list v1alpha1.ProviderTokenList
			return own.Client.List(ctx, &list, client.InNamespace(f.w.Namespace))
		}).Should(Succeed())
		landed(ctx, f)
	}, SpecTimeout(2*time.Minute))

	It("whose CRD is replaced keeps tokens fresh, and begins anew when it was removed and is put back", func(ctx SpecContext) {
		w := worldOn(ctx, own)
		w.Operator()
		w.generic(ctx)
		pt := w.Create(ctx, w.named("one"))
		w.Ready(ctx, pt)
		w.Settle(ctx, pt)
		scheme := runtime.NewScheme()
		Expect(apiextensionsv1.AddToScheme(scheme)).To(Succeed())
		admin, err := client.New(own.Config, client.Options{Scheme: scheme})
		Expect(err).NotTo(HaveOccurred())
		name := client.ObjectKey{Name: "providertokens.providertoken.dev"}
		crd := &apiextensionsv1.CustomResourceDefinition{}

		By("a field more, as an upgrade brings")
		Expect(admin.Get(ctx, name, crd)).To(Succeed())
		spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		longest := int64(9)
		spec.Properties["later"] = apiextensionsv1.JSONSchemaProps{Type: "string", MaxLength: &longest}
		crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"] = spec
		Expect(admin.Update(ctx, crd)).To(Succeed())
		w.StepToRefresh(ctx, pt)
		w.Settle(ctx, pt)
		Eventually(func() error {
			return own.Client.Patch(ctx, pt, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"later":"x"}}`)), client.FieldValidation("Strict"))
		}).Should(Succeed())
		w.Ready(ctx, pt)
		testworld.StaysFor(quiet, w.Sim.Generic.Issued, 2)
		w.StepToRefresh(ctx, pt)
		w.Ready(ctx, pt)
		Expect(w.Sim.Generic.Issued()).To(Equal(3))

		By("no CRD, and no ProviderToken")
		Expect(admin.Get(ctx, name, crd)).To(Succeed())
		Expect(admin.Delete(ctx, crd)).To(Succeed())
		Eventually(func() bool { return apierrors.IsNotFound(admin.Get(ctx, name, crd)) }).Should(BeTrue())
		Eventually(func() int { return w.series("one") }).Should(BeZero())
		w.Clock.Step(5 * time.Hour)
		testworld.StaysFor(quiet, w.Sim.Generic.Issued, 3)

		By("the CRD back, and its objects as from Git")
		crds, err := envtest.InstallCRDs(own.Config, envtest.CRDInstallOptions{Paths: []string{testworld.Root() + "/config/crd/bases"}})
		Expect(err).NotTo(HaveOccurred())
		Expect(crds).NotTo(BeEmpty())
		again := w.named("one")
		Eventually(func() error { return own.Client.Create(ctx, again) }).Should(Succeed())
		began := time.Now()
		Eventually(func() bool { return w.Sim.Generic.Accepts(w.Token(ctx, again)) }).WithTimeout(70 * time.Second).WithPolling(50 * time.Millisecond).Should(BeTrue())
		w.Ready(ctx, again)
		tell("noticed that the CRD is back", time.Since(began).Round(100*time.Millisecond).String())
		Expect(w.Sim.Generic.Issued()).To(Equal(4))
	}, SpecTimeout(2*time.Minute))
})

// kill ends the process of ours that was started with this argument, as a crash does: an
// API server that is asked to stop first waits for the watches.
func kill(argument string) {
	GinkgoHelper()
	own := fmt.Sprintf("PPid:\t%d\n", os.Getpid())
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	Expect(err).NotTo(HaveOccurred())
	for _, path := range found {
		line, err := os.ReadFile(path)
		if err != nil || !slices.Contains(strings.Split(string(line), "\x00"), argument) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		if err != nil || !strings.Contains(string(status), own) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		Expect(err).NotTo(HaveOccurred())
		Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
		Eventually(func() error { return syscall.Kill(pid, 0) }).ShouldNot(Succeed())
		return
	}
	Fail("no process with " + argument)
}
