package chart_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ignored are the labels that only the chart has.
var ignored = []string{
	"helm.sh/chart",                // which chart made it
	"app.kubernetes.io/managed-by", // Helm
	"app.kubernetes.io/version",    // Helm's convention; in config/ the image tells
	"app.kubernetes.io/instance",   // the release: tells two releases in one namespace apart
}

func withoutIgnored(value any) any {
	switch v := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, child := range v {
			if !slices.Contains(ignored, key) {
				kept[key] = withoutIgnored(child)
			}
		}
		return kept
	case []any:
		kept := make([]any, len(v))
		for i, child := range v {
			kept[i] = withoutIgnored(child)
		}
		return kept
	default:
		return value
	}
}

func compare(t *testing.T, kustomized, charted objects) {
	t.Helper()
	for key, object := range kustomized {
		other, found := charted[key]
		if !found {
			t.Errorf("the chart lacks %s", key)
			continue
		}
		if diff := cmp.Diff(withoutIgnored(object), withoutIgnored(other)); diff != "" {
			t.Errorf("%s differs (-config +chart):\n%s", key, diff)
		}
	}
	for key := range charted {
		if _, found := kustomized[key]; !found {
			t.Errorf("only the chart has %s", key)
		}
	}
}

func TestChartIsCleanForHelmLint(t *testing.T) {
	t.Parallel()
	for _, values := range []string{"values.yaml", "values-namespaced.yaml"} {
		if out, err := runHelm(t, nil, "lint", "--strict", "--values", filepath.Join(chartDir, values), chartDir); err != nil {
			t.Errorf("helm lint with %s: %v\n%s", values, err, out)
		}
	}
}

func TestChartWithItsDefaultsEqualsTheClusterWideInstall(t *testing.T) {
	t.Parallel()
	kustomized := build(t, root+"/config/with-crds")
	if len(kustomized) < 15 {
		t.Fatalf("config/with-crds has %d objects only", len(kustomized))
	}
	// Helm makes the namespace itself (--create-namespace), and would refuse a release
	// that holds the namespace which it lies in.
	delete(kustomized, "Namespace "+namespace)
	compare(t, kustomized, mustRender(t))
}

func TestChartWithItsNamespacedValuesEqualsTheNamespacedInstall(t *testing.T) {
	t.Parallel()
	compare(t, build(t, root+"/config/namespaced"), mustRender(t, read(t, chartDir+"/values-namespaced.yaml")))
}

func TestChartsPartsEqualTheComponents(t *testing.T) {
	t.Parallel()
	repository := gitRepository(t)
	for part, values := range map[string]string{
		"components:\n- BASE/prometheus?ref=v0.1.0":        "metrics: {serviceMonitor: {enabled: true}, prometheusRule: {enabled: true}}",
		"components:\n- BASE/grafana?ref=v0.1.0":           "metrics: {dashboard: {enabled: true}}",
		"components:\n- BASE/propagation?ref=v0.1.0":       "propagation: {enabled: true}",
		"components:\n- BASE/workload-identity?ref=v0.1.0": "workloadIdentity: {enabled: true}",
		"components:\n- BASE/block-metadata?ref=v0.1.0":    "networkPolicy: {blockMetadata: true}",
		"- BASE/credential-policy?ref=v0.1.0":              "credentialPolicy: {enabled: true}",
	} {
		t.Run(part, func(t *testing.T) {
			kustomized := overlay(t, repository, map[string]string{"kustomization.yaml": "resources:\n- BASE/default?ref=v0.1.0\n" + part})
			delete(kustomized, "Namespace "+namespace)
			compare(t, kustomized, mustRender(t, "crds: {install: false}", values))
		})
	}
}

func TestFilesInDistAreTheFoldersInConfig(t *testing.T) {
	t.Parallel()
	for file, folder := range map[string]string{
		"crds.yaml": "crd", "install.yaml": "default", "install-namespaced.yaml": "namespaced",
	} {
		if diff := cmp.Diff(build(t, root+"/config/"+folder), parse(t, read(t, root+"/dist/"+file))); diff != "" {
			t.Errorf("dist/%s is stale, run make build-installer (-config +dist):\n%s", file, diff)
		}
	}
}

func TestNoToolDeletesTheCRDs(t *testing.T) {
	t.Parallel()
	crds := build(t, root+"/config/crd")
	if len(crds) != 3 {
		t.Fatalf("%d objects in config/crd, not three CRDs", len(crds))
	}
	want := map[string]any{
		"helm.sh/resource-policy":               "keep",
		"argocd.argoproj.io/sync-options":       "Prune=false,Delete=false",
		"kustomize.toolkit.fluxcd.io/prune":     "disabled",
		"controller-gen.kubebuilder.io/version": nil,
	}
	for key, crd := range crds {
		annotations, _ := at(crd, "/metadata/annotations")
		for name, value := range want {
			if got, found := at(annotations, "/"+escape(name)); !found || value != nil && got != value {
				t.Errorf("%s: annotation %s is %v, not %v", key, name, got, value)
			}
		}
	}
	for _, file := range []string{"install.yaml", "install-namespaced.yaml"} {
		for key, object := range parse(t, read(t, root+"/dist/"+file)) {
			if object["kind"] == "CustomResourceDefinition" {
				t.Errorf("dist/%s holds %s: kubectl delete -f would take all tokens", file, key)
			}
		}
	}
}

func TestOneImageEverywhere(t *testing.T) {
	t.Parallel()
	images := map[string][]string{}
	note := func(where string, found objects) {
		image, _ := at(found["Deployment providertoken-manager"], "/spec/template/spec/containers/0/image")
		text, _ := image.(string)
		images[text] = append(images[text], where)
	}
	for _, file := range []string{"install.yaml", "install-namespaced.yaml"} {
		note(file, parse(t, read(t, root+"/dist/"+file)))
	}
	note("chart", mustRender(t))
	if len(images) != 1 || images[""] != nil {
		t.Errorf("not the same image everywhere: %v", images)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
