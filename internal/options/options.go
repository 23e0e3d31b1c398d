// Package options turns command-line flags into validated options.
//
// It must not import anything of Kubernetes or of the other packages: a label
// selector stays a string here.
package options

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Options of the manager.
type Options struct {
	// MetricsBindAddress of the metrics endpoint; "0" for none.
	MetricsBindAddress string
	// MetricsSecure serves metrics over TLS and asks the API server who may read them.
	MetricsSecure bool
	// HealthProbeBindAddress of /healthz and /readyz; "0" for none.
	HealthProbeBindAddress string
	// PprofBindAddress of Go's profiles, on loopback; empty for none.
	PprofBindAddress string
	// LeaderElect lets only one of several replicas work.
	LeaderElect bool
	// WatchNamespaces restricts the operator; empty for the whole cluster.
	WatchNamespaces []string
	// WatchLabelSelector restricts it to ProviderTokens with these labels: a shard.
	WatchLabelSelector string
	// MaxConcurrentReconciles is the number of workers.
	MaxConcurrentReconciles int
	// EgressProxy for requests to providers; nil for none.
	EgressProxy *url.URL
	// ClusterName is sent to providers in the User-Agent.
	ClusterName string
	// AllowNetworks may be reached although the dial guard would refuse them.
	AllowNetworks []netip.Prefix
	// OperatorNamespace holds the operator's lease, its key and its login records.
	OperatorNamespace string
	// InlineProviders allows spec.provider.
	InlineProviders bool
	// Propagation tells pods that mount a changed target at once.
	Propagation bool
	// PropagationRate bounds the pods that are told in a second.
	PropagationRate int
	// WorkloadIdentity lets tokens of ServiceAccounts stand for stored credentials.
	WorkloadIdentity bool
	// APIAudiences are further audiences of the API server, for which no token is given away.
	APIAudiences []string
	// ObjectMetrics has series for each ProviderToken, instead of sums only.
	ObjectMetrics bool
	// AuditLog is where a line for each exchange goes: AuditStdout, AuditStderr, a path, or empty for nowhere.
	AuditLog string
	// OTLPEndpoint is a URL that traces are sent to; empty for none.
	OTLPEndpoint string
	// Version asks for the version instead of running.
	Version bool
}

// Special values of AuditLog.
const (
	AuditStdout = "stdout"
	AuditStderr = "stderr"
)

const (
	defaultWorkers   = 16
	defaultRate      = 50
	defaultNamespace = "providertoken-system"
)

// Parse reads args (without the program's name). env looks up POD_NAMESPACE, the
// default of --operator-namespace. register adds further flags, such as a
// logger's. The error says what to write instead; flag.ErrHelp after --help.
func Parse(args []string, env func(string) string, register ...func(*flag.FlagSet)) (Options, error) {
	var o Options
	var namespaces, networks, proxy, audiences, endpoint string
	own := env("POD_NAMESPACE")
	if own == "" {
		own = defaultNamespace
	}
	fs := flag.NewFlagSet("manager", flag.ContinueOnError)
	fs.StringVar(&o.MetricsBindAddress, "metrics-bind-address", ":8443", "`address` of the metrics endpoint, or 0 for none")
	fs.BoolVar(&o.MetricsSecure, "metrics-secure", true, "serve metrics over TLS, to those whom the API server lets read /metrics")
	fs.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", ":8081", "`address` of /healthz and /readyz, or 0 for none")
	fs.StringVar(&o.PprofBindAddress, "pprof-bind-address", "", "loopback `address` of Go's CPU and heap profiles (/debug/pprof), such as 127.0.0.1:6060; none when empty")
	fs.BoolVar(&o.LeaderElect, "leader-elect", true, "let only one of several replicas work")
	fs.StringVar(&namespaces, "watch-namespaces", "", "comma-separated `namespaces` to work in; all of the cluster when empty. ClusterTokenProviders are not read then")
	fs.StringVar(&o.WatchLabelSelector, "watch-label-selector", "", "work on ProviderTokens with these labels only (a shard), such as shard=a; the lease's name includes it")
	fs.IntVar(&o.MaxConcurrentReconciles, "max-concurrent-reconciles", defaultWorkers, "`number` of workers")
	fs.StringVar(&proxy, "egress-proxy", "", "http or https `URL` of a proxy for requests to providers; the environment's proxy variables are not used")
	fs.StringVar(&o.ClusterName, "cluster-name", "", "`name` of this cluster, sent to providers in the User-Agent")
	fs.StringVar(&networks, "allow-networks", "", "comma-separated `CIDRs` that may be reached although the dial guard refuses such addresses, such as 10.1.0.0/16")
	fs.StringVar(&o.OperatorNamespace, "operator-namespace", own, "`namespace` of the operator's lease, key and login records")
	fs.BoolVar(&o.InlineProviders, "inline-providers", true, "allow ProviderTokens to define their provider themselves (spec.provider)")
	fs.BoolVar(&o.Propagation, "propagation", false, "tell running pods with the label providertoken.dev/mounts at once when the Secret changes that they mount; needs the rights of config/propagation")
	fs.IntVar(&o.PropagationRate, "propagation-rate", defaultRate, "`number` of pods to tell in a second; half of that in one namespace")
	fs.BoolVar(&o.WorkloadIdentity, "workload-identity", false, "let tokens of ServiceAccounts that consent stand for stored credentials (spec.credentials.serviceAccount); needs the rights of config/workload-identity")
	fs.StringVar(&audiences, "api-audiences", "", "comma-separated `audiences` of the API server, beside the usual ones, that no token is ever requested for; its own flag of that name lists them")
	fs.BoolVar(&o.ObjectMetrics, "object-metrics", true, "have series for each ProviderToken; false leaves sums by provider and host, for tens of thousands of them")
	fs.StringVar(&o.AuditLog, "audit-log", AuditStdout, "where one line of JSON for each request to a provider goes, never with a secret: `stdout, stderr, none` or the path of a file; other logs go to stderr")
	fs.StringVar(&endpoint, "otlp-endpoint", "", "`URL` of an OpenTelemetry collector (OTLP over gRPC) that traces are sent to, such as https://collector.example.com:4317; http is without TLS")
	fs.BoolVar(&o.Version, "version", false, "print version, commit and the catalog's entries, and exit")
	for _, add := range register {
		add(fs)
	}
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: all options are flags, see --help", fs.Arg(0))
	}
	var errs [4]error
	o.WatchNamespaces, errs[0] = parseNamespaces(namespaces)
	o.EgressProxy, errs[1] = parseProxy(proxy)
	o.AllowNetworks, errs[2] = parseNetworks(networks)
	o.APIAudiences = split(audiences)
	o.OTLPEndpoint, errs[3] = parseOTLP(endpoint)
	switch o.AuditLog {
	case "none":
		o.AuditLog = ""
	case "-":
		o.AuditLog = AuditStdout
	}
	return o, errors.Join(append(errs[:], o.validate())...)
}

func (o Options) validate() error {
	errs := []error{o.validatePprof()}
	if o.MaxConcurrentReconciles < 1 {
		errs = append(errs, fmt.Errorf("--max-concurrent-reconciles=%d: must be at least 1", o.MaxConcurrentReconciles))
	}
	if o.PropagationRate < 1 {
		errs = append(errs, fmt.Errorf("--propagation-rate=%d: must be at least 1; leave --propagation off to tell nobody", o.PropagationRate))
	}
	if o.AuditLog != "" && o.AuditLog != AuditStdout && o.AuditLog != AuditStderr && !strings.HasPrefix(o.AuditLog, "/") {
		errs = append(errs, fmt.Errorf("--audit-log=%q: write stdout, stderr, none or an absolute path", o.AuditLog))
	}
	if len(o.APIAudiences) > 0 && !o.WorkloadIdentity {
		errs = append(errs, errors.New("--api-audiences: says for what --workload-identity must request no tokens; set that too, or leave both off"))
	}
	if !namespaceName().MatchString(o.OperatorNamespace) {
		errs = append(errs, fmt.Errorf("--operator-namespace=%q: is not the name of a namespace", o.OperatorNamespace))
	}
	if !regexp.MustCompile(`^[A-Za-z0-9._-]{0,128}$`).MatchString(o.ClusterName) {
		errs = append(errs, fmt.Errorf("--cluster-name=%q: use up to 128 letters, digits, '.', '_' and '-'", o.ClusterName))
	}
	return errors.Join(errs...)
}

// validatePprof keeps profiles on this host: whoever reads them can stall the process
// and learns what it does, and they ask nobody who that is.
func (o Options) validatePprof() error {
	if o.PprofBindAddress == "" {
		return nil
	}
	a, err := netip.ParseAddrPort(o.PprofBindAddress)
	if err != nil || !a.Addr().IsLoopback() {
		return fmt.Errorf("--pprof-bind-address=%q: use a loopback address with a port, such as 127.0.0.1:6060 (kubectl port-forward reaches it)", o.PprofBindAddress)
	}
	return nil
}

func namespaceName() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
}

func parseNamespaces(s string) ([]string, error) {
	names := split(s)
	for _, n := range names {
		if !namespaceName().MatchString(n) {
			return nil, fmt.Errorf("--watch-namespaces: %q is not the name of a namespace", n)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func parseProxy(s string) (*url.URL, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// The URL may hold a password and is not repeated.
		return nil, errors.New("--egress-proxy: write an http or https URL, such as http://proxy.example.com:3128")
	}
	return u, nil
}

func parseOTLP(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		// As above.
		return "", errors.New("--otlp-endpoint: write an http or https URL without a password, such as https://collector.example.com:4317")
	}
	return s, nil
}

func parseNetworks(s string) ([]netip.Prefix, error) {
	var networks []netip.Prefix
	for _, part := range split(s) {
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, fmt.Errorf("--allow-networks: %q is not a network; write it as 10.1.0.0/16 or fd00:1::/64", part)
		}
		networks = append(networks, p.Masked())
	}
	return networks, nil
}

func split(s string) []string {
	var parts []string
	for p := range strings.SplitSeq(s, ",") {
		if p = strings.TrimSpace(p); p != "" {
			parts = append(parts, p)
		}
	}
	return parts
}
