package privilege_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	testworld "github.com/providertoken/operator/test/world"
)

// objects are what an install consists of.
type objects []*unstructured.Unstructured

func kubectl(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), append([]string{"--kubeconfig", adminFile}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// overlay builds a kustomization, in which CONFIG stands for the folder config.
func overlay(ctx context.Context, kustomization string) objects {
	GinkgoHelper()
	dir, err := os.MkdirTemp(directory, "overlay")
	Expect(err).NotTo(HaveOccurred())
	// kustomize wants relative paths.
	config, err := filepath.Rel(dir, filepath.Join(testworld.Root(), "config"))
	Expect(err).NotTo(HaveOccurred())
	write(filepath.Join(dir, "kustomization.yaml"), strings.ReplaceAll(kustomization, "CONFIG", config))
	out, err := kubectl(ctx, "", "kustomize", dir)
	Expect(err).NotTo(HaveOccurred())
	return decode(out)
}

// chart renders the Helm chart, for the namespace that config/default has.
func chart(ctx context.Context, args ...string) objects {
	GinkgoHelper()
	tool, err := exec.CommandContext(ctx, filepath.Join(testworld.Root(), "hack", "tool.sh"), "helm").Output()
	Expect(err).NotTo(HaveOccurred(), "building helm")
	args = append([]string{"template", "providertoken", filepath.Join(testworld.Root(), "dist", "chart"), "--namespace", "providertoken-system"}, args...)
	cmd := exec.CommandContext(ctx, strings.TrimSpace(string(tool)), args...)
	home := filepath.Join(directory, "helm")
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "HELM_PLUGINS="+home)
	out, err := cmd.Output()
	Expect(err).NotTo(HaveOccurred())
	return decode(string(out))
}

func decode(documents string) objects {
	GinkgoHelper()
	var found objects
	for doc := range strings.SplitSeq("\n"+documents, "\n---\n") {
		o := &unstructured.Unstructured{}
		Expect(yaml.Unmarshal([]byte(doc), &o.Object)).To(Succeed())
		if len(o.Object) > 0 {
			found = append(found, o)
		}
	}
	return found
}

// only is the one object of a kind.
func only[T any](all objects, kind string) T {
	GinkgoHelper()
	found := each[T](all, kind)
	Expect(found).To(HaveLen(1), kind)
	return found[0]
}

// each is all objects of a kind.
func each[T any](all objects, kind string) []T {
	GinkgoHelper()
	var found []T
	for _, o := range all {
		if o.GetKind() == kind {
			var typed T
			Expect(runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &typed, true)).To(Succeed())
			found = append(found, typed)
		}
	}
	return found
}

// apply writes an install into the cluster, as a person does.
func (o objects) apply(ctx context.Context) {
	GinkgoHelper()
	Expect(o.applyAs(ctx, "admin", "--as-group=system:masters")).To(Succeed())
}

// applyAs does it as somebody.
func (o objects) applyAs(ctx context.Context, name string, args ...string) error {
	GinkgoHelper()
	var documents strings.Builder
	for _, object := range o {
		text, err := yaml.Marshal(object.Object)
		Expect(err).NotTo(HaveOccurred())
		documents.WriteString("---\n" + string(text))
	}
	_, err := kubectl(ctx, documents.String(), append(args, "apply", "--server-side", "--force-conflicts", "--as="+name, "-f", "-")...)
	return err
}

func newNamespace(ctx context.Context, name string, labels map[string]string) {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	Expect(client.IgnoreAlreadyExists(k8s.Create(ctx, ns))).To(Succeed())
}
