// Command bench measures what an operator costs that keeps tokens fresh: requests to a
// real API server, CPU, memory, and how late it is. It starts etcd, kube-apiserver, a
// token endpoint with a set latency and the operator, each as a process of its own but for
// the endpoint, prints a table, and writes the figures as JSON.
//
// It runs from the repository's root: make bench BENCH=3000x300s. The same work can be
// given to another operator (--operator, --objects-template, --install); see
// docs/benchmarks.md. CPU and memory are read from /proc: Linux only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/providertoken/operator/api/v1alpha1"
)

func main() {
	log.SetFlags(0)
	ctrl.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// request is what the command line says.
type request struct {
	subject
	workload
	out       string
	page      string
	scenarios []string
}

func parseFlags(args []string) (request, error) {
	var r request
	var install, env string
	var isSmoke bool
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.Usage = func() {
		_, _ = fmt.Fprint(fs.Output(), "usage: bench [flags] SCENARIO…\n\nscenarios: 300x90s and the like (tokens × lifetime), restart, foreign-secrets, fairness, outage, smoke\n\n")
		fs.PrintDefaults()
	}
	fs.IntVar(&r.workload.objects, "objects", 0, "`number` of tokens, instead of the scenario's")
	fs.DurationVar(&r.lifetime, "lifetime", 0, "lifetime of tokens, instead of the scenario's")
	fs.DurationVar(&r.latency, "latency", 50*time.Millisecond, "time that the token endpoint takes")
	fs.DurationVar(&r.duration, "duration", 0, "how long to measure from the operator's start on, instead of the scenario's")
	fs.IntVar(&r.tokenBytes, "token-bytes", 1000, "size of a token")
	fs.BoolVar(&r.http1, "http1", false, "let the token endpoint speak HTTP/1.1 only, not also HTTP/2")
	fs.IntVar(&r.concurrency, "concurrency", 32, "limits.concurrency of the bench's ClusterTokenProvider; 0 for the operator's default")
	fs.IntVar(&r.rate, "per-second", 500, "limits.perSecond of the bench's ClusterTokenProvider")
	fs.StringVar(&r.command, "operator", ours, "`command` that starts the operator, a Go template with .Kubeconfig, .AdminKubeconfig, .Metrics, .Health and .Pprof")
	fs.StringVar(&env, "env", "", "space-separated `NAME=VALUE` pairs for the operator's environment")
	fs.StringVar(&r.peer, "peer", "", "`name` of the operator, when it is not this repository's")
	fs.StringVar(&r.subject.objects, "objects-template", "", "`file` with the templates \"shared\" and \"object\" of what to create; see hack/bench/objects")
	fs.StringVar(&install, "install", "dist/crds.yaml,dist/install.yaml", "comma-separated `files` or directories to apply first")
	fs.StringVar(&r.selector, "secret-selector", v1alpha1.TargetLabel, "label `selector` of the Secrets that hold tokens")
	fs.StringVar(&r.key, "secret-key", "token", "`key` of the token in those Secrets")
	fs.StringVar(&r.controller, "controller", "providertoken", "`name` of the operator's controller in its metrics")
	fs.DurationVar(&r.interval, "interval", 0, "after what time the operator replaces tokens, where no annotation tells; in templates as .Interval")
	fs.StringVar(&r.profiles, "profiles", "", "`directory` for CPU and heap profiles of the operator, which then runs with .Pprof")
	fs.StringVar(&r.note, "note", "", "`text` to keep with the figures")
	fs.StringVar(&r.out, "out", "bin/figures", "`directory` for the figures as JSON")
	fs.StringVar(&r.keepLogs, "logs", "", "`file` to append the operator's log to")
	fs.StringVar(&r.page, "report", "", "`page` to write the figures of --out into, with plots beside them, after the scenarios if any")
	fs.BoolVar(&isSmoke, "smoke", false, "judge the counts of a short run, the scenario smoke")
	if err := fs.Parse(args); err != nil {
		return r, err
	}
	r.install, r.env = strings.Split(install, ","), strings.Fields(env)
	r.workload.out = os.Stdout
	r.scenarios = fs.Args()
	if isSmoke {
		r.scenarios = append(r.scenarios, "smoke")
	}
	if len(r.scenarios) == 0 && r.page != "" {
		return r, nil
	}
	if len(r.scenarios) == 0 {
		return r, errors.New("which scenario? such as bench 300x90s; see bench --help")
	}
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return r, errors.New("KUBEBUILDER_ASSETS is not set: start the bench with make bench")
	}
	return r, nil
}

func run(ctx context.Context, args []string) error {
	r, err := parseFlags(args)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range r.scenarios {
		play, w, err := prepare(name, r.workload)
		if err != nil {
			return err
		}
		figures, err := play(ctx, r.subject, w)
		if figures != nil && figures.FirstTokens.Got > 0 || figures != nil && figures.Fairness != nil {
			figures.print(os.Stdout)
			file, werr := figures.write(r.out)
			err = errors.Join(err, werr)
			_, _ = fmt.Fprintf(os.Stdout, "  as JSON: %s\n\n", file)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if r.page != "" {
		errs = append(errs, report(r.out, r.page))
	}
	return joined(errs)
}

// finish ends a stage. The operator's log is kept where it is wanted, or explains an error.
func finish(s *stage, err error, clean func() error) error {
	if log := filepath.Join(s.directory, "operator.log"); s.keepLogs != "" {
		if content, rerr := os.ReadFile(log); rerr == nil {
			err = errors.Join(err, appendTo(s.keepLogs, content))
		}
	}
	return errors.Join(err, clean())
}

func appendTo(file string, content []byte) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// joined is errors.Join, with a line for each.
func joined(errs []error) error { return errors.Join(errs...) }
