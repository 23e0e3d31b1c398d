// Package chart_test holds the Helm chart, the files in dist/ and the kustomize
// folders in config/ against each other and against a real API server. It runs the
// tools that hack/tool.sh pins.
package chart_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the generated part of the chart's README")

const (
	root     = "../.."
	chartDir = root + "/dist/chart"
	// The names that config/ gives, for the chart to give too.
	release   = "providertoken"
	namespace = "providertoken-system"
)

var (
	helm      = sync.OnceValues(func() (string, error) { return tool("helm") })
	kustomize = sync.OnceValues(func() (string, error) { return tool("kustomize") })
)

func tool(name string) (string, error) {
	cmd := exec.Command(root+"/hack/tool.sh", name)
	cmd.Stderr = os.Stderr
	path, err := cmd.Output()
	return strings.TrimSpace(string(path)), err
}

// run returns stdout; on an error it includes stderr.
func run(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), errors.New(strings.TrimSpace(stderr.String() + stdout.String()))
	}
	return stdout.String(), nil
}

func runHelm(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	path, err := helm()
	if err != nil {
		t.Fatalf("building helm: %v", err)
	}
	// Nothing of the person who runs the tests: no repositories, no plugins.
	home := t.TempDir()
	env = append(env, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "HELM_PLUGINS="+home)
	return run(t, env, path, args...)
}

// rendered is what several tests look at.
var rendered sync.Map

// render renders the chart as a release would, with values in YAML.
func render(t *testing.T, values ...string) (string, error) {
	t.Helper()
	key := strings.Join(values, "\n---\n")
	if out, found := rendered.Load(key); found {
		return out.(string), nil
	}
	args := []string{"template", release, chartDir, "--namespace", namespace}
	for i, v := range values {
		file := filepath.Join(t.TempDir(), strconv.Itoa(i)+".yaml")
		if err := os.WriteFile(file, []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--values", file)
	}
	out, err := runHelm(t, nil, args...)
	if err == nil {
		rendered.Store(key, out)
	}
	return out, err
}

func mustRender(t *testing.T, values ...string) objects {
	t.Helper()
	out, err := render(t, values...)
	if err != nil {
		t.Fatalf("helm template: %v", err)
	}
	return parse(t, out)
}

func build(t *testing.T, folder string) objects {
	t.Helper()
	path, err := kustomize()
	if err != nil {
		t.Fatalf("building kustomize: %v", err)
	}
	out, err := run(t, nil, path, "build", folder)
	if err != nil {
		t.Fatalf("kustomize build %s: %v", folder, err)
	}
	return parse(t, out)
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// objects by key: "Kind name", or "Kind namespace/name" outside of the operator's namespace.
type objects map[string]map[string]any

func parse(t *testing.T, manifests string) objects {
	t.Helper()
	found := objects{}
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		var object map[string]any
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("parsing manifests: %v", err)
		}
		if len(object) == 0 {
			continue
		}
		u := unstructured.Unstructured{Object: object}
		key := u.GetKind() + " " + u.GetName()
		if ns := u.GetNamespace(); ns != "" && ns != namespace {
			key = u.GetKind() + " " + ns + "/" + u.GetName()
		}
		if _, twice := found[key]; twice {
			t.Fatalf("%s is there twice", key)
		}
		found[key] = object
	}
}

// at returns what a JSON pointer leads to.
func at(object any, pointer string) (any, bool) {
	value := object
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if part == "" {
			return value, true
		}
		part = strings.ReplaceAll(part, "~1", "/")
		switch v := value.(type) {
		case map[string]any:
			next, found := v[part]
			if !found {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// canonical makes values comparable, whether they came from YAML or JSON.
func canonical(t *testing.T, value any) string {
	t.Helper()
	content, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func fromYAML(t *testing.T, content string) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(content), &value); err != nil {
		t.Fatalf("%v in %q", err, content)
	}
	return value
}
