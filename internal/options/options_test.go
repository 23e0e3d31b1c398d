package options

import (
	"errors"
	"flag"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func noEnv(string) string { return "" }

func TestDefaultsAreWhatProductionWants(t *testing.T) {
	got, err := Parse(nil, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	want := Options{
		MetricsBindAddress: ":8443", MetricsSecure: true, HealthProbeBindAddress: ":8081", LeaderElect: true,
		MaxConcurrentReconciles: 16, OperatorNamespace: "providertoken-system", InlineProviders: true,
		PropagationRate: 50, ObjectMetrics: true, AuditLog: AuditStdout,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestFlagsAreRead(t *testing.T) {
	got, err := Parse([]string{
		"--watch-namespaces= b, a,b ", "--allow-networks=10.1.2.3/16,fd00::/8", "--egress-proxy=http://u:p@proxy:3128",
		"--cluster-name=prod-1", "--leader-elect=false", "--workload-identity", "--api-audiences=https://api.example, x", "--more=x",
	}, func(name string) string { return map[string]string{"POD_NAMESPACE": "ops"}[name] },
		func(fs *flag.FlagSet) { fs.String("more", "", "of a logger") })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got.WatchNamespaces); diff != "" {
		t.Errorf("namespaces: %s", diff)
	}
	networks := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}
	if diff := cmp.Diff(networks, got.AllowNetworks, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("networks: %s", diff)
	}
	if diff := cmp.Diff([]string{"https://api.example", "x"}, got.APIAudiences); diff != "" || !got.WorkloadIdentity {
		t.Errorf("workload identity %v, audiences: %s", got.WorkloadIdentity, diff)
	}
	if got.EgressProxy.Host != "proxy:3128" || got.ClusterName != "prod-1" || got.LeaderElect || got.OperatorNamespace != "ops" {
		t.Errorf("got %+v", got)
	}
}

func TestAuditLogIsWhereItIsSaid(t *testing.T) {
	for told, want := range map[string]string{"none": "", "-": AuditStdout, "stderr": AuditStderr, "/var/log/audit": "/var/log/audit"} {
		got, err := Parse([]string{"--audit-log=" + told, "--object-metrics=false", "--otlp-endpoint=http://collector:4317"}, noEnv)
		if err != nil || got.AuditLog != want || got.ObjectMetrics || got.OTLPEndpoint != "http://collector:4317" {
			t.Errorf("%s: got %+v, %v", told, got, err)
		}
	}
}

func TestMistakesAreExplained(t *testing.T) {
	for _, c := range []struct{ arg, want string }{
		{"--watch-namespaces=a,B", `"B" is not the name of a namespace`},
		{"--operator-namespace=-", "is not the name of a namespace"},
		{"--allow-networks=10.0.0.0", "write it as 10.1.0.0/16"},
		{"--audit-log=audit.log", "write stdout, stderr, none or an absolute path"},
		{"--otlp-endpoint=collector:4317", "write an http or https URL"},
		{"--otlp-endpoint=https://u:secret@collector:4317", "without a password"},
		{"--egress-proxy=socks5://u:secret@h", "write an http or https URL"},
		{"--egress-proxy=:", "write an http or https URL"},
		{"--pprof-bind-address=:6060", "use a loopback address"},
		{"--pprof-bind-address=0.0.0.0:6060", "use a loopback address"},
		{"--pprof-bind-address=10.1.2.3:6060", "use a loopback address"},
		{"--pprof-bind-address=localhost:6060", "use a loopback address"},
		{"--pprof-bind-address=127.0.0.1", "use a loopback address"},
		{"--max-concurrent-reconciles=0", "must be at least 1"},
		{"--propagation-rate=0", "leave --propagation off"},
		{"--api-audiences=x", "--workload-identity"},
		{"--cluster-name=a b", "use up to 128 letters"},
		{"argument", "all options are flags"},
		{"--no-such-flag", "not defined"},
	} {
		_, err := Parse([]string{c.arg}, noEnv, quiet)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", c.arg, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a password: %v", c.arg, err)
		}
	}
}

func TestProfilesAreServedOnLoopbackOnly(t *testing.T) {
	for _, address := range []string{"127.0.0.1:6060", "[::1]:0"} {
		got, err := Parse([]string{"--pprof-bind-address=" + address}, noEnv)
		if err != nil || got.PprofBindAddress != address {
			t.Errorf("%s: got %q, %v", address, got.PprofBindAddress, err)
		}
	}
}

func TestHelpIsNoMistake(t *testing.T) {
	if _, err := Parse([]string{"--help"}, noEnv, quiet); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
}

func quiet(fs *flag.FlagSet) { fs.SetOutput(new(strings.Builder)) }
