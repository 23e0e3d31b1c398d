package docs_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing/fstest"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
	testworld "github.com/providertoken/operator/test/world"
)

// desk is where a reader of one page sits: a namespace of a real API server with an operator whose
// catalog leads to simulated providers, a folder with what the repository has, and a shell.
type desk struct {
	*testworld.World

	folder string
	env    []string
	strict client.Client
}

// newDesk starts no operator yet.
func newDesk(ctx context.Context) *desk {
	GinkgoHelper()
	d := &desk{World: testworld.New(ctx, server), folder: GinkgoT().TempDir()}
	d.Catalog = simulated(d.Sim)
	root := testworld.Root()
	for _, part := range []string{"config", "dist", "hack"} {
		Expect(os.CopyFS(filepath.Join(d.folder, part), os.DirFS(filepath.Join(root, part)))).To(Succeed())
	}
	bin := GinkgoT().TempDir()
	Expect(os.Symlink(filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), filepath.Join(bin, "kubectl"))).To(Succeed())
	for _, tool := range []string{"helm", "kustomize"} {
		Expect(os.Symlink(pinned(tool), filepath.Join(bin, tool))).To(Succeed())
	}
	kubeconfig := filepath.Join(bin, "kubeconfig")
	Expect(os.WriteFile(kubeconfig, server.Environment.KubeConfig, 0o600)).To(Succeed())
	d.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+kubeconfig, "HELM_CACHE_HOME="+bin, "HELM_CONFIG_HOME="+bin, "HELM_DATA_HOME="+bin)
	_, err := d.run(ctx, "kubectl config set-context --current --namespace "+d.Namespace)
	Expect(err).NotTo(HaveOccurred())
	d.strict, err = client.New(server.Config, client.Options{Scheme: server.Scheme, FieldValidation: metav1.FieldValidationStrict})
	Expect(err).NotTo(HaveOccurred())
	d.ensure(ctx, d.Namespace)
	return d
}

// pinned is the path of a tool.
var pinned = func() func(string) string {
	var known sync.Map
	return func(tool string) string {
		GinkgoHelper()
		if path, is := known.Load(tool); is {
			return path.(string)
		}
		out, err := exec.CommandContext(context.Background(), filepath.Join(testworld.Root(), "hack", "tool.sh"), tool).Output()
		Expect(err).NotTo(HaveOccurred(), "building "+tool)
		path := strings.TrimSpace(string(out))
		known.Store(tool, path)
		return path
	}
}()

// simulated is the built-in catalog, with the addresses of the simulated providers in place of the real ones.
func simulated(sim *providersim.Simulator) *provider.Catalog {
	GinkgoHelper()
	folder := filepath.Join(testworld.Root(), "internal", "provider", "catalog")
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	here := map[string][]swap{
		"PlantPredict": {{"https://terabase-prd.auth.us-west-2.amazoncognito.com", "https://" + sim.PlantPredict.Address()}},
		"SpatiaFi":     {{"https://auth.spatiafi.com", "https://" + sim.SpatiaFi.Address()}},
		"UP42Project":  {{"https://api.up42.com", "https://" + sim.UP42Project.Address()}},
		"UP42":         {{"https://{region}.up42.com", "https://" + sim.UP42.Address()}, {"parameters:\n  - name: region\n    description: where the account lives\n    default: eu\n    values:\n      eu: auth\n      sa: auth.sa\n", ""}},
		"Keycloak":     nil,
	}
	catalog := fstest.MapFS{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		swaps, is := here[name]
		content := exchanged(string(text), swaps)
		if is {
			content += "caBundle: |\n" + indented(sim.CABundle(), "  ")
		}
		catalog["catalog/"+name+".yaml"] = &fstest.MapFile{Data: []byte(content)}
	}
	c, err := provider.ReadCatalog(catalog)
	Expect(err).NotTo(HaveOccurred())
	return c
}

// swap is a part of a text that stands for something else in a test.
type swap struct{ from, to string }

// exchanged text; every part must be there, since a test that replaces nothing any more tests something else.
func exchanged(text string, swaps []swap) string {
	GinkgoHelper()
	for _, s := range swaps {
		Expect(text).To(ContainSubstring(s.from))
		text = strings.ReplaceAll(text, s.from, s.to)
	}
	return text
}

func indented(text, by string) string {
	return regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(text, by+"$1")
}

// run is what a reader types.
func (d *desk) run(ctx context.Context, what string) (string, error) {
	cmd := exec.CommandContext(ctx, "bash", "-eu", "-c", what)
	cmd.Dir, cmd.Env = d.folder, d.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if found := regexp.MustCompile(`\| (grep|awk) [^|]*$`).MatchString(what); found && errors.As(err, &exit) && exit.ExitCode() == 1 && stderr.Len() == 0 {
		return stdout.String(), nil // what was looked for is not there
	}
	if err != nil {
		return stdout.String(), fmt.Errorf("%w\n%s%s", err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}

// ensure makes a namespace, as a cluster with its controllers would.
func (d *desk) ensure(ctx context.Context, name string) {
	GinkgoHelper()
	err := server.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if !apierrors.IsAlreadyExists(err) {
		Expect(err).NotTo(HaveOccurred())
	}
	err = server.Client.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: name}})
	if !apierrors.IsAlreadyExists(err) {
		Expect(err).NotTo(HaveOccurred())
	}
}

// objects of a block; what is no object has no kind.
func objects(text string) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	decoder := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := decoder.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		var o unstructured.Unstructured
		var list []any
		if yaml.Unmarshal(document, &list) == nil && len(list) > 0 {
			all = append(all, unstructured.Unstructured{Object: map[string]any{"list": list}})
			continue
		}
		if err := yaml.UnmarshalStrict(document, &o.Object); err != nil {
			return nil, err
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
}

// apply has an object applied by the API server, strictly; with client.DryRunAll, nothing stays.
func (d *desk) apply(ctx context.Context, o unstructured.Unstructured, options ...client.ApplyOption) error {
	o = *o.DeepCopy()
	mapping, err := server.Client.RESTMapper().RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
	if err != nil {
		return err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace && o.GetNamespace() == "" {
		o.SetNamespace(d.Namespace)
	}
	if o.GetNamespace() != "" {
		d.ensure(ctx, o.GetNamespace())
	}
	if o.GetKind() == "Secret" {
		d.known(o)
	}
	return d.strict.Apply(ctx, client.ApplyConfigurationFromUnstructured(&o), append([]client.ApplyOption{client.FieldOwner("reader"), client.ForceOwnership}, options...)...)
}

// known are the values of examples, which stand in the documentation.
func (d *desk) known(o unstructured.Unstructured) {
	values, _, _ := unstructured.NestedStringMap(o.Object, "stringData")
	for value := range maps.Values(values) {
		server.Leaks.Public(strings.TrimSpace(value))
	}
}

// fixture is what pages speak of that show no manifest of their own: a ProviderToken up42-token that works.
func (d *desk) fixture(ctx context.Context) {
	GinkgoHelper()
	d.Operator()
	Expect(server.Client.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "up42-login", Labels: map[string]string{v1alpha1.CredentialsForLabel: "UP42"}},
		StringData: map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password},
	})).To(Succeed())
	d.Ready(ctx, d.Create(ctx, &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: "up42-token"},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Name: "UP42"},
			Credentials: &v1alpha1.Credentials{SecretName: "up42-login"},
		},
	}))
}

// record stands for that of a frozen login.
const record = "login-0"

// filled in are the words in capitals that a reader replaces.
func (d *desk) filled(what string) string {
	for word, value := range map[string]string{
		"TEAM": d.Namespace, "NAMESPACE": d.Namespace, "NAME": "up42-token", "CREDENTIAL": "up42-login", "TARGET": "up42-token",
		"PROVIDER": d.Cluster("up42"), "ACCOUNT": "default", "RECORD": record,
	} {
		what = regexp.MustCompile(`\b`+word+`\b`).ReplaceAllString(what, value)
	}
	return regexp.MustCompile(`https://github\.com/providertoken/operator//([a-z-/]+)\?ref=v[0-9.]+`).ReplaceAllString(what, "$1")
}
