package manifest

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

// Shelf holds documents, and hands them out as an API server would: source.Getter.
// An object without a namespace is in the namespace "".
type Shelf struct {
	documents []Document
}

// NewShelf puts documents on a shelf.
func NewShelf(documents []Document) *Shelf { return &Shelf{documents: documents} }

// Find returns the document with that group, kind and name; nil when there is none.
func (s *Shelf) Find(group, kind string, key client.ObjectKey) *Document {
	for i := range s.documents {
		d := &s.documents[i]
		if d.Is(group, kind) && d.Object.GetName() == key.Name && d.Object.GetNamespace() == key.Namespace {
			return d
		}
	}
	return nil
}

// Get implements source.Getter for what a ProviderToken can refer to.
func (s *Shelf) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	group, kind := kindOf(object)
	if kind == "ClusterTokenProvider" || kind == "Namespace" {
		key.Namespace = ""
	}
	d := s.Find(group, kind, key)
	if d == nil {
		return apierrors.NewNotFound(schema.GroupResource{Group: group, Resource: kind}, key.Name)
	}
	return d.As(object)
}

func kindOf(object client.Object) (group, kind string) {
	switch object.(type) {
	case *v1alpha1.ProviderToken:
		return v1alpha1.GroupVersion.Group, "ProviderToken"
	case *v1alpha1.TokenProvider:
		return v1alpha1.GroupVersion.Group, "TokenProvider"
	case *v1alpha1.ClusterTokenProvider:
		return v1alpha1.GroupVersion.Group, "ClusterTokenProvider"
	case *corev1.Secret:
		return "", "Secret"
	case *corev1.ConfigMap:
		return "", "ConfigMap"
	case *metav1.PartialObjectMetadata:
		return "", "Namespace"
	}
	return "", fmt.Sprintf("%T", object)
}

// As turns the document into a typed object. The texts of a Secret's stringData are in
// its data then, as the API server puts them there. The error repeats no value.
func (d Document) As(object client.Object) error {
	if metadata, ok := object.(*metav1.PartialObjectMetadata); ok {
		metadata.SetName(d.Object.GetName())
		metadata.SetLabels(d.Object.GetLabels())
		return nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(d.Object.Object, object); err != nil {
		return fmt.Errorf("%s:%d: %s has fields of impossible types", d.File, d.LineOf(""), d.Name())
	}
	if secret, ok := object.(*corev1.Secret); ok && len(secret.StringData) > 0 {
		data := maps.Clone(secret.Data)
		if data == nil {
			data = map[string][]byte{}
		}
		for key, text := range secret.StringData {
			data[key] = []byte(text)
		}
		secret.Data, secret.StringData = data, nil
	}
	return nil
}
