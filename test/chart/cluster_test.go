package chart_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// cluster is a real API server of this package's own, without any controller: so
// nothing is ever collected as garbage, and a deleted namespace stays for ever.
type cluster struct {
	client.Client

	kubeconfig string
}

func startCluster(t *testing.T) cluster {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Fatal("KUBEBUILDER_ASSETS is not set: run make test, which sets it to the output of hack/kube.sh")
	}
	var environment envtest.Environment
	environment.ControlPlane.Etcd = &envtest.Etcd{}
	environment.ControlPlane.Etcd.Configure().Append("unsafe-no-fsync", "true")
	if _, err := environment.Start(); err != nil {
		t.Fatalf("starting the API server: %v", err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Errorf("stopping the API server: %v", err)
		}
	})
	admin, err := environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, &rest.Config{QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := admin.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	write(t, file, string(kubeconfig))
	c, err := client.New(admin.Config(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return cluster{Client: client.WithFieldValidation(c, "Strict"), kubeconfig: file}
}

func (c cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, []string{"KUBECONFIG=" + c.kubeconfig}, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (c cluster) helm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := runHelm(t, []string{"KUBECONFIG=" + c.kubeconfig}, args...)
	if err != nil {
		t.Fatalf("helm %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// TestRealAPIServer runs in order: each part begins with what the one before left.
func TestRealAPIServer(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	t.Run("accepts every object that the values can make", c.acceptsAll)
	t.Run("finds nothing cluster-scoped in the namespaced install", c.scopes)
	t.Run("keeps all tokens when install.yaml is deleted", c.deleteManifests)
	t.Run("lets Helm take over what kubectl applied", c.takeOver)
	t.Run("serves the life of a release and keeps all tokens after it", c.releases)
}

func (c cluster) acceptsAll(t *testing.T) {
	for _, name := range []string{namespace, "team-a", "team-b", "ops"} {
		c.kubectl(t, "create", "namespace", name)
	}
	seen := map[string]bool{}
	try := func(t *testing.T, found objects) {
		t.Helper()
		for key, object := range found {
			// Its kind comes with the Prometheus Operator; it is compared with config/prometheus instead.
			if content := canonical(t, object); !seen[content] && object["kind"] != "ServiceMonitor" && object["kind"] != "PrometheusRule" && key != "Namespace "+namespace {
				seen[content] = true
				u := (&unstructured.Unstructured{Object: object}).DeepCopy()
				if err := c.Create(t.Context(), u, client.DryRunAll); err != nil {
					t.Errorf("%s: %v", key, err)
					continue
				}
				// What the API server leaves out or writes otherwise is a difference for ever
				// to a GitOps tool.
				if lost := missing(t, "", object, u.Object); lost != "" {
					t.Errorf("%s: the API server does not keep %s", key, lost)
				}
			}
		}
	}
	for _, file := range []string{"crds.yaml", "install.yaml", "install-namespaced.yaml"} {
		try(t, parse(t, read(t, root+"/dist/"+file)))
	}
	for _, v := range valueCases {
		t.Run(v.value, func(t *testing.T) { try(t, mustRender(t, v.values(t)...)) })
	}
	if len(seen) < len(valueCases) {
		t.Errorf("only %d objects were tried", len(seen))
	}
}

// missing names the first field of sent that kept has not, or not like that.
func missing(t *testing.T, path string, sent, kept any) string {
	t.Helper()
	switch s := sent.(type) {
	case map[string]any:
		k, _ := kept.(map[string]any)
		for field, value := range s {
			if lost := missing(t, path+"/"+field, value, k[field]); lost != "" {
				return lost
			}
		}
	case []any:
		k, _ := kept.([]any)
		if len(k) != len(s) {
			return path
		}
		for i, value := range s {
			if lost := missing(t, path+"/"+strconv.Itoa(i), value, k[i]); lost != "" {
				return lost
			}
		}
	default:
		if canonical(t, sent) != canonical(t, kept) {
			return path
		}
	}
	return ""
}

func (c cluster) scopes(t *testing.T) {
	for where, found := range map[string]objects{
		"dist/install-namespaced.yaml": parse(t, read(t, root+"/dist/install-namespaced.yaml")),
		"values-namespaced.yaml":       mustRender(t, read(t, chartDir+"/values-namespaced.yaml")),
		"a list of namespaces":         mustRender(t, read(t, chartDir+"/values-namespaced.yaml"), "watchNamespaces: [team-a, team-b]"),
	} {
		for key, object := range found {
			u := unstructured.Unstructured{Object: object}
			mapping, err := c.RESTMapper().RESTMapping(u.GroupVersionKind().GroupKind(), u.GroupVersionKind().Version)
			if err != nil {
				t.Fatal(err)
			}
			if mapping.Scope.Name() != meta.RESTScopeNameNamespace || u.GetNamespace() == "" {
				t.Errorf("%s: %s is cluster-scoped, or in no namespace", where, key)
			}
		}
	}
}

// user makes what a user has in the namespace imagery: a ProviderToken, and a target
// Secret that goes when the ProviderToken goes. It returns what must outlive an uninstall.
func (c cluster) user(t *testing.T) []survivor {
	t.Helper()
	c.kubectl(t, "create", "namespace", "imagery")
	c.kubectl(t, "apply", "--namespace=imagery", "--filename="+root+"/config/samples/up42.yaml")
	owner := c.uid(t, "providertoken.dev/v1alpha1", "ProviderToken", "imagery", "up42-token")
	file := filepath.Join(t.TempDir(), "target.yaml")
	write(t, file, `
apiVersion: v1
kind: Secret
metadata:
  name: up42-token
  ownerReferences: [{apiVersion: providertoken.dev/v1alpha1, kind: ProviderToken, name: up42-token, uid: `+string(owner)+`, controller: true}]
stringData: {token: t}
`)
	c.kubectl(t, "create", "--namespace=imagery", "--filename="+file)
	found := []survivor{
		{"v1", "Secret", "imagery", "up42-token", ""},
		{"v1", "Secret", "imagery", "up42-login", ""},
		{"providertoken.dev/v1alpha1", "ProviderToken", "imagery", "up42-token", ""},
	}
	for key := range build(t, root+"/config/crd") {
		_, name, _ := strings.Cut(key, " ")
		found = append(found, survivor{"apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name, ""})
	}
	for i, s := range found {
		found[i].uid = c.uid(t, s.version, s.kind, s.namespace, s.name)
	}
	return found
}

type survivor struct {
	version, kind, namespace, name string

	uid types.UID
}

// uid of an object that exists and is not about to go.
func (c cluster) uid(t *testing.T, version, kind, ns, name string) types.UID {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(version)
	u.SetKind(kind)
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, u); err != nil {
		t.Fatalf("%s %s/%s: %v", kind, ns, name, err)
	}
	if u.GetDeletionTimestamp() != nil {
		t.Fatalf("%s %s/%s is being deleted", kind, ns, name)
	}
	return u.GetUID()
}

func (c cluster) allSurvived(t *testing.T, survivors []survivor) {
	t.Helper()
	for _, s := range survivors {
		if uid := c.uid(t, s.version, s.kind, s.namespace, s.name); uid != s.uid {
			t.Errorf("%s %s is another one than before: its UID changed", s.kind, s.name)
		}
	}
}

// remains names what the cluster has of the operator, CRDs aside.
func (c cluster) remains(t *testing.T) string {
	t.Helper()
	return c.kubectl(t, "get", "--namespace="+namespace, "--ignore-not-found", "--output=name", "--selector=app.kubernetes.io/name=providertoken",
		"deployment,serviceaccount,service,networkpolicy,poddisruptionbudget,role,rolebinding,clusterrole,clusterrolebinding,priorityclass")
}

func (c cluster) deleteManifests(t *testing.T) {
	c.kubectl(t, "delete", "namespace", namespace, "--wait=false")
	c.emptied(t, namespace)
	c.kubectl(t, "apply", "--server-side", "--filename="+root+"/dist/crds.yaml", "--filename="+root+"/dist/install.yaml")
	c.kubectl(t, "wait", "--for=condition=Established", "--timeout=30s", "--filename="+root+"/dist/crds.yaml")
	survivors := c.user(t)
	// All but the namespace itself.
	if got, all := strings.Count(c.remains(t), "\n"), len(parse(t, read(t, root+"/dist/install.yaml")))-1; got != all {
		t.Errorf("%d of %d objects are there with the operator's label:\n%s", got, all, c.remains(t))
	}
	// No controller is here to end the namespace, so that nobody waits for it.
	c.kubectl(t, "delete", "--wait=false", "--filename="+root+"/dist/install.yaml")
	if left := c.remains(t); left != "" {
		t.Errorf("kubectl delete left\n%s", left)
	}
	c.allSurvived(t, survivors)
}

// emptied lets a namespace end, as the namespace controller does.
func (c cluster) emptied(t *testing.T, name string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "namespace.json")
	write(t, file, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "`+name+`"}, "spec": {"finalizers": []}}`)
	c.kubectl(t, "replace", "--raw=/api/v1/namespaces/"+name+"/finalize", "--filename="+file)
}

func (c cluster) takeOver(t *testing.T) {
	out, err := runHelm(t, []string{"KUBECONFIG=" + c.kubeconfig}, "install", release, chartDir, "--namespace=ops")
	if err == nil || !strings.Contains(err.Error(), "invalid ownership metadata") {
		t.Errorf("Helm took what is not its own, without being told: %v\n%s", err, out)
	}
	c.helm(t, "install", release, chartDir, "--namespace=ops", "--take-ownership")
	c.helm(t, "uninstall", release, "--namespace=ops")
	// As on a new cluster, for what follows.
	c.kubectl(t, "delete", "--namespace=imagery", "secret", "--all")
	c.kubectl(t, "delete", "namespace", "imagery", "--wait=false")
	c.kubectl(t, "delete", "--filename="+root+"/dist/crds.yaml")
	c.emptied(t, "imagery")
}

func (c cluster) releases(t *testing.T) {
	in := "--namespace=" + namespace
	c.emptied(t, namespace)
	c.helm(t, "install", release, chartDir, in, "--create-namespace")
	survivors := c.user(t)
	replicas := func() string {
		return c.kubectl(t, "get", in, "deployment", "providertoken-manager", "--output=jsonpath={.spec.replicas}")
	}
	columns := func() string {
		return c.kubectl(t, "get", "crd", "providertokens.providertoken.dev", "--output=jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}")
	}
	before := columns()

	c.helm(t, "upgrade", release, nextChart(t), in, "--set=replicas=3")
	if replicas() != "3" || !strings.Contains(columns(), "Next") {
		t.Errorf("after the upgrade: replicas %s, columns of the CRD %s", replicas(), columns())
	}
	c.allSurvived(t, survivors)

	c.helm(t, "rollback", release, "1", in)
	if replicas() != "2" || columns() != before {
		t.Errorf("after the rollback: replicas %s, columns of the CRD %s", replicas(), columns())
	}
	c.allSurvived(t, survivors)

	c.helm(t, "uninstall", release, in)
	if left := c.remains(t); left != "" {
		t.Errorf("helm uninstall left\n%s", left)
	}
	c.allSurvived(t, survivors)

	c.helm(t, "install", release, chartDir, in)
	c.allSurvived(t, survivors)
	c.helm(t, "upgrade", release, chartDir, in, "--set=crds.install=false")
	c.allSurvived(t, survivors)
}

// nextChart is the chart's next version, with a CRD that has a column more.
func nextChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "chart")
	if err := os.CopyFS(dir, os.DirFS(chartDir)); err != nil {
		t.Fatal(err)
	}
	replace := func(file, old, fresh string) {
		path := filepath.Join(dir, file)
		content := read(t, path)
		if !strings.Contains(content, old) {
			t.Fatalf("%s does not contain %q", file, old)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, old, fresh)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace("Chart.yaml", "\nversion: ", "\nversion: 9")
	age := "    - jsonPath: .metadata.creationTimestamp\n      name: Age\n      type: date\n"
	replace("files/crds.yaml", age, age+"    - jsonPath: .metadata.uid\n      name: Next\n      type: string\n")
	return dir
}
