package controller_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
)

var _ = Describe("the samples", func() {
	It("are accepted by the API server, strictly, and fit the catalog and each other", func(ctx SpecContext) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "samples-"}}
		Expect(k8s.Create(ctx, ns)).To(Succeed())
		strict, err := client.New(apiServer, client.Options{Scheme: server.Scheme, FieldValidation: metav1.FieldValidationStrict})
		Expect(err).NotTo(HaveOccurred())
		catalog, err := provider.Builtin()
		Expect(err).NotTo(HaveOccurred())

		bound := map[string]string{}
		var tokens []v1alpha1.ProviderToken
		for _, o := range sampleObjects() {
			if o.GetKind() == "Pod" {
				continue // its service account is made by a controller that does not run here
			}
			if o.GetKind() != "ClusterTokenProvider" {
				o.SetNamespace(ns.Name)
			}
			Expect(strict.Create(ctx, o.DeepCopy(), client.DryRunAll)).To(Succeed())
			switch o.GetKind() {
			case "Secret":
				bound[o.GetName()] = o.GetLabels()[v1alpha1.CredentialsForLabel]
			case "ProviderToken":
				var pt v1alpha1.ProviderToken
				Expect(strict.Scheme().Convert(&o, &pt, nil)).To(Succeed())
				tokens = append(tokens, pt)
			}
		}
		Expect(len(tokens)).To(BeNumerically(">=", 11))
		for _, pt := range tokens {
			want := "ProviderToken." + pt.Name
			if ref := pt.Spec.ProviderRef; ref != nil {
				want = v1alpha1.CredentialsForValue(ref.Kind, ref.Name)
				if ref.Kind == "" {
					Expect(catalog.Names()).To(ContainElement(ref.Name))
				}
			}
			if pt.Spec.Credentials == nil {
				Expect(bound).To(ContainElement(want), "the platform's Secret of "+pt.Name)
				continue
			}
			Expect(bound).To(HaveKeyWithValue(pt.Spec.Credentials.SecretName, want), pt.Name)
		}
	})
})

var _ = Describe("the providers' pages", func() {
	It("hold samples that the API server accepts, strictly", func(ctx SpecContext) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "pages-"}}
		Expect(k8s.Create(ctx, ns)).To(Succeed())
		strict, err := client.New(apiServer, client.Options{Scheme: server.Scheme, FieldValidation: metav1.FieldValidationStrict})
		Expect(err).NotTo(HaveOccurred())
		pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "providers", "*.md"))
		Expect(err).NotTo(HaveOccurred())
		catalog, err := provider.Builtin()
		Expect(err).NotTo(HaveOccurred())
		Expect(pages).To(HaveLen(len(catalog.Names()) + 1)) // and the index
		for _, page := range pages {
			content, err := os.ReadFile(page)
			Expect(err).NotTo(HaveOccurred())
			blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(content, -1)
			if filepath.Base(page) != "README.md" {
				Expect(blocks).NotTo(BeEmpty(), page)
			}
			for _, block := range blocks {
				objects := decodeObjects(block[1], page)
				Expect(objects).To(HaveLen(2), page)
				for _, o := range objects {
					o.SetNamespace(ns.Name)
					Expect(strict.Create(ctx, &o, client.DryRunAll)).To(Succeed(), page)
				}
			}
		}
	})
})

func sampleObjects() []unstructured.Unstructured {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join("..", "..", "config", "samples", "*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	var objects []unstructured.Unstructured
	for _, f := range files {
		if filepath.Base(f) == "kustomization.yaml" {
			continue
		}
		data, err := os.ReadFile(f)
		Expect(err).NotTo(HaveOccurred())
		objects = append(objects, decodeObjects(data, f)...)
	}
	return objects
}

// decodeObjects reads all documents of a file.
func decodeObjects(data []byte, file string) []unstructured.Unstructured {
	GinkgoHelper()
	var objects []unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return objects
		}
		Expect(err).NotTo(HaveOccurred(), file)
		objects = append(objects, o)
	}
}
