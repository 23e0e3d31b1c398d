// Package world is what a spec has for itself: a namespace of a real API server,
// simulated providers, a clock that stands still, and operators that it can start
// and stop. Only tests import it.
package world

import (
	"io"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"go.uber.org/zap/zapcore"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/process"
)

// Server is a real API server with etcd, which all specs of a suite share.
type Server struct {
	// Config is the administrator's.
	Config      *rest.Config
	Client      client.Client
	Environment *envtest.Environment
	Scheme      *apiruntime.Scheme
	// Leaks is searched when the suite ends: no secret may be where people read.
	Leaks *Leaks

	granted sync.Once
}

// NewServer starts an API server that knows the CRDs of this repository, for the
// suite that calls it in BeforeSuite. configure, when not nil, changes the
// environment before it starts.
func NewServer(configure func(*envtest.Environment)) *Server {
	GinkgoHelper()
	// How long a suite waits for what must come. A machine may be busy; it is no measure of speed.
	SetDefaultEventuallyTimeout(time.Minute)
	s := &Server{Scheme: apiruntime.NewScheme(), Leaks: NewLeaks()}
	// As verbose as it gets: what is only logged while somebody looks for a fault counts, too.
	log := process.Logger(zap.Options{DestWriter: io.MultiWriter(GinkgoWriter, s.Leaks.Writer("the log")), Development: true, Level: zapcore.Level(-127)})
	ctrl.SetLogger(log)
	klog.SetLogger(log)
	s.start(configure)
	s.Config.QPS = -1
	Expect(clientgoscheme.AddToScheme(s.Scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(s.Scheme)).To(Succeed())
	var err error
	s.Client, err = client.New(s.Config, client.Options{Scheme: s.Scheme})
	Expect(err).NotTo(HaveOccurred())
	s.read()
	return s
}

// start brings the API server up. A port that was free when it was chosen can be
// taken by an outgoing connection before the server listens, and an environment
// keeps its ports: so a second and a third one get others.
func (s *Server) start(configure func(*envtest.Environment)) {
	GinkgoHelper()
	var err error
	for range 3 {
		s.Environment = &envtest.Environment{
			CRDDirectoryPaths:     []string{filepath.Join(Root(), "config", "crd", "bases")},
			ErrorIfCRDPathMissing: true,
		}
		s.Environment.ControlPlane.Etcd = &envtest.Etcd{}
		s.Environment.ControlPlane.Etcd.Configure().Append("unsafe-no-fsync", "true")
		if configure != nil {
			configure(s.Environment)
		}
		if s.Config, err = s.Environment.Start(); err == nil {
			DeferCleanup(s.Environment.Stop)
			return
		}
		GinkgoWriter.Println("starting an API server:", err)
		_ = s.Environment.Stop()
	}
	Expect(err).NotTo(HaveOccurred(), "starting an API server")
}

// Root is the folder of this repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}
