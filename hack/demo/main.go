// Command demo shows the operator at work: a real API server on loopback, the
// simulated providers with short-lived tokens, the real manager binary with the
// rights that config/rbac gives it, and manifests that are applied with kubectl.
// It watches every target Secret as a workload would.
//
// On a terminal it draws a table until Ctrl-C. Without one, or with
// DEMO_SECONDS=n, it prints a line for each change, ends by itself, and exits 0
// only if every token was refreshed at least twice and no Secret was ever seen
// with a token that no longer serves.
//
// It runs from the repository's root: make demo.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/providertoken/operator/internal/providersim"
)

const (
	operatorNamespace = "providertoken-system"
	demoNamespace     = "demo"
	// tokenLifetime is what the simulated providers grant; the manifests' refresh
	// policies fit it.
	tokenLifetime = 30 * time.Second
	// wantedRefreshes of every token, for the demo to succeed when it ends by itself.
	wantedRefreshes = 2
	// defaultDuration without a terminal.
	defaultDuration = 75 * time.Second
)

func main() {
	// Children die with the thread that starts them (startProcess); this one lives
	// as long as the program.
	runtime.LockOSThread()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type options struct {
	// assets is the directory of etcd, kube-apiserver and kubectl.
	assets string
	// manager is the manager's binary.
	manager string
	// install is the directory of what users install, manifests that of what is
	// applied then.
	install, manifests string
	// metrics is a loopback address at which the manager serves metrics without TLS;
	// any free one, with TLS, when empty.
	metrics string
	// trouble lets providers fail for a while, and the demo judge nothing.
	trouble bool
	// duration after which the demo ends by itself; zero: when interrupted.
	duration time.Duration
}

func parseOptions() (options, error) {
	var o options
	flag.StringVar(&o.manager, "manager", "bin/manager", "the manager's binary")
	flag.StringVar(&o.install, "install", "dist", "the directory of crds.yaml and install.yaml")
	flag.StringVar(&o.manifests, "manifests", "hack/demo/manifests", "the directory of manifests to apply")
	flag.StringVar(&o.metrics, "metrics", "", "loopback `address` of the manager's metrics, without TLS, for a Prometheus of your own")
	flag.BoolVar(&o.trouble, "trouble", false, "let providers fail for a while, for something to see in the metrics")
	flag.Parse()
	o.assets = os.Getenv("KUBEBUILDER_ASSETS")
	if o.assets == "" {
		return options{}, errors.New("KUBEBUILDER_ASSETS is not set: start the demo with make demo")
	}
	for _, path := range []*string{&o.assets, &o.manager} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return options{}, fmt.Errorf("finding %s: %w", *path, err)
		}
		*path = absolute
	}
	otherwise := defaultDuration
	if term.IsTerminal(int(os.Stdout.Fd())) {
		otherwise = 0
	}
	var err error
	o.duration, err = duration(os.Getenv("DEMO_SECONDS"), otherwise)
	return o, err
}

// duration reads DEMO_SECONDS.
func duration(setting string, otherwise time.Duration) (time.Duration, error) {
	if setting == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(setting)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("DEMO_SECONDS=%s must be a positive number", setting)
	}
	return time.Duration(n) * time.Second, nil
}

func run() (err error) {
	o, err := parseOptions()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for the clean-up

	directory, err := os.MkdirTemp("", "providertoken-demo-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() {
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w\nlogs are in %s", err, directory)
			return
		}
		err = errors.Join(err, os.RemoveAll(directory))
	}()
	d := newDisplay(os.Stdout, time.Now())
	return stage{options: o, directory: directory, display: d}.play(ctx)
}

// stage is where the demo is played.
type stage struct {
	options
	directory string
	display   *display
}

func (s stage) play(ctx context.Context) (err error) {
	sim, err := providersim.Start(providersim.Options{Lifetime: tokenLifetime})
	if err != nil {
		return fmt.Errorf("starting the simulated providers: %w", err)
	}
	defer sim.Close()
	s.display.say("simulated providers serve TLS on loopback; their tokens live %s", tokenLifetime)

	plane, err := startControlPlane(ctx, s.assets, s.directory)
	if plane != nil {
		defer func() { err = errors.Join(err, plane.stop()) }()
	}
	if err != nil {
		return err
	}
	s.display.say("etcd and kube-apiserver are ready")

	k := kubectl{path: filepath.Join(s.assets, "kubectl"), kubeconfig: plane.kubeconfig}
	if err := s.installOperator(ctx, k); err != nil {
		return err
	}

	manager, err := s.startManager(ctx, plane)
	if manager != nil {
		defer func() { err = errors.Join(err, manager.stop()) }()
	}
	if err != nil {
		return err
	}
	s.display.say("the manager is ready; its log: %s, and its audit log beside it", manager.log)

	ways := waysIn(sim)
	config, err := plane.rest()
	if err != nil {
		return err
	}
	watcher, err := newObserver(config, s.display, ways)
	if err != nil {
		return err
	}
	if err := s.applyManifests(ctx, k, values(sim)); err != nil {
		return err
	}
	s.hint(plane.kubeconfig)
	if s.trouble {
		for _, t := range program() {
			s.display.say("trouble: in %s %s", t.at, t.what)
		}
		go troubles(ctx, sim)
	}
	return s.watch(ctx, watcher, append(plane.processes, manager))
}

// installOperator applies what a cluster's admin would, without anything that runs it.
func (s stage) installOperator(ctx context.Context, k kubectl) error {
	args := []string{"apply", "--server-side", "-f", filepath.Join(s.install, "crds.yaml"), "-f", filepath.Join(s.install, "install.yaml")}
	if err := k.run(ctx, args...); err != nil {
		return err
	}
	s.display.say("installed: kubectl %s", strings.Join(args, " "))
	return k.run(ctx, "wait", "--for=condition=Established", "--timeout=30s",
		"crd/providertokens.providertoken.dev", "crd/tokenproviders.providertoken.dev", "crd/clustertokenproviders.providertoken.dev")
}

func (s stage) startManager(ctx context.Context, plane *controlPlane) (*process, error) {
	addresses, err := freeAddresses(2)
	if err != nil {
		return nil, err
	}
	metrics := []string{"--metrics-bind-address=" + addresses[0]}
	if s.metrics != "" {
		metrics = []string{"--metrics-bind-address=" + s.metrics, "--metrics-secure=false"}
	}
	manager, err := startProcess(s.directory, s.manager, append(metrics,
		"--kubeconfig="+plane.managerKubeconfig,
		"--operator-namespace="+operatorNamespace,
		"--leader-elect=false",
		"--allow-networks=127.0.0.0/8", // where the simulated providers are
		"--cluster-name=demo",
		"--health-probe-bind-address="+addresses[1],
		// For people; in a cluster it is JSON.
		"--zap-encoder=console", "--zap-time-encoding=rfc3339",
		"--audit-log="+filepath.Join(s.directory, "audit.log"),
	)...)
	if err != nil {
		return nil, err
	}
	probe := "http://" + addresses[1] + "/readyz"
	return manager, await(ctx, "the manager", []*process{manager}, func(ctx context.Context) bool { return answers(ctx, probe) })
}

func answers(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (s stage) applyManifests(ctx context.Context, k kubectl, values map[string]string) error {
	rendered := filepath.Join(s.directory, "manifests")
	if err := renderManifests(s.manifests, rendered, values); err != nil {
		return err
	}
	if err := k.run(ctx, "create", "namespace", demoNamespace); err != nil {
		return err
	}
	if err := k.run(ctx, "apply", "-f", rendered); err != nil {
		return err
	}
	s.display.say("applied: kubectl apply -f %s", rendered)
	return nil
}

func (s stage) hint(kubeconfig string) {
	program := "kubectl"
	if _, err := exec.LookPath(program); err != nil {
		program = filepath.Join(s.assets, program)
	}
	s.display.say("look around: export KUBECONFIG=%s; %s get ptok", kubeconfig, program)
	if s.duration == 0 {
		s.display.say("Ctrl-C ends the demo")
	}
}

// watch observes for the demo's duration, and judges.
func (s stage) watch(ctx context.Context, o *observer, processes []*process) error {
	observed := ctx
	if s.duration > 0 {
		var cancel context.CancelFunc
		observed, cancel = context.WithTimeout(ctx, s.duration)
		defer cancel()
	}
	began := time.Now()
	if err := o.run(observed, processes...); err != nil {
		return err
	}
	s.display.table(o.lines(time.Now()))
	if s.trouble {
		return nil
	}
	if err := lapsesOf(o.ledgers); err != nil {
		return err
	}
	if s.duration == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return errors.New("interrupted before its end")
	}
	if err := shortOf(o.ledgers, wantedRefreshes); err != nil {
		return err
	}
	s.display.Keep()
	s.display.say("in %s every token was refreshed at least %d times, and %d looks at all Secrets found none with an expired one",
		seconds(time.Since(began)), wantedRefreshes, o.samples)
	return nil
}
