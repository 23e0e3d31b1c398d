// Package v1alpha1 is the API group providertoken.dev, version v1alpha1.
//
// It imports apimachinery only, so that other programs can use the types
// without the operator.
//
// +kubebuilder:object:generate=true
// +groupName=providertoken.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion identifies this API.
var GroupVersion = schema.GroupVersion{Group: "providertoken.dev", Version: "v1alpha1"}

// AddToScheme adds the types of this package to s.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&ProviderToken{}, &ProviderTokenList{},
		&TokenProvider{}, &TokenProviderList{},
		&ClusterTokenProvider{}, &ClusterTokenProviderList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
