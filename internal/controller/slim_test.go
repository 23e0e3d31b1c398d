package controller

import (
	"maps"
	"reflect"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/target"
)

func fat() metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "ns", Name: "a", UID: "u", ResourceVersion: "7", Generation: 3, GenerateName: "a-",
		Labels: map[string]string{"app": "x", v1alpha1.CredentialsForLabel: "UP42"},
		Annotations: map[string]string{
			corev1.LastAppliedConfigAnnotation: "all of it", v1alpha1.RefreshRequestedAtAnnotation: "now", v1alpha1.AllowedHostsAnnotation: "h:1",
		},
		OwnerReferences: []metav1.OwnerReference{{Name: "x"}}, Finalizers: []string{"f/g"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
	}
}

func TestCachesKeepOfAnObjectWhatTheOperatorReads(t *testing.T) {
	kept := metav1.ObjectMeta{
		Namespace: "ns", Name: "a", UID: "u", ResourceVersion: "7", Generation: 3,
		Labels:      map[string]string{v1alpha1.CredentialsForLabel: "UP42"},
		Annotations: map[string]string{v1alpha1.RefreshRequestedAtAnnotation: "now", v1alpha1.AllowedHostsAnnotation: "h:1"},
	}
	labelled := kept
	labelled.Labels = fat().Labels
	data := map[string][]byte{"password": []byte("p")}
	spec := v1alpha1.ProviderTokenSpec{Audience: "x"}
	status := v1alpha1.ProviderTokenStatus{
		Conditions: []metav1.Condition{{Type: "Ready", Status: "True", Reason: "r", Message: "m", ObservedGeneration: 3}},
		Provider:   &v1alpha1.ProviderStatus{Kind: "Builtin", Name: "UP42", Version: "1", Method: "m", Host: "h", TokenURL: "u"},
		Token:      &v1alpha1.TokenStatus{ExpirySource: "JWT", Type: "Bearer", Scopes: []string{"a"}},
	}
	for name, c := range map[string]struct{ o, want any }{
		"ProviderToken": {
			&v1alpha1.ProviderToken{ObjectMeta: fat(), Spec: spec, Status: *status.DeepCopy()},
			&v1alpha1.ProviderToken{ObjectMeta: kept, Spec: spec, Status: status},
		},
		"TokenProvider":        {&v1alpha1.TokenProvider{ObjectMeta: fat()}, &v1alpha1.TokenProvider{ObjectMeta: kept}},
		"ClusterTokenProvider": {&v1alpha1.ClusterTokenProvider{ObjectMeta: fat()}, &v1alpha1.ClusterTokenProvider{ObjectMeta: kept}},
		"credentials":          {&corev1.Secret{ObjectMeta: fat(), Data: data}, &corev1.Secret{ObjectMeta: kept, Data: data}},
		"bundle": {
			&corev1.ConfigMap{ObjectMeta: fat(), Data: map[string]string{"ca.crt": "x"}, BinaryData: data},
			&corev1.ConfigMap{ObjectMeta: kept, Data: map[string]string{"ca.crt": "x"}},
		},
		"namespace": {&metav1.PartialObjectMetadata{ObjectMeta: fat()}, &metav1.PartialObjectMetadata{ObjectMeta: labelled}},
	} {
		got, err := new(slimmer).slim(c.o)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestObjectsWithTheSameLabelsShareThem(t *testing.T) {
	c := new(slimmer)
	of := func(labels map[string]string) map[string]string {
		s, err := c.target(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: labels}})
		if err != nil {
			t.Fatal(err)
		}
		return s.(*corev1.Secret).Labels
	}
	same := func(a, b map[string]string) bool { return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer() }
	a := of(map[string]string{"a": "1", "b": "2"})
	if b := of(map[string]string{"b": "2", "a": "1"}); !same(a, b) {
		t.Error("there are two copies")
	}
	for _, other := range []map[string]string{{"a": "1"}, {"a": "1", "b": "3"}, {"a": "1", "b": "2", "c": ""}, nil} {
		if b := of(maps.Clone(other)); same(a, b) || !maps.Equal(b, other) {
			t.Errorf("%v became %v", other, b)
		}
	}
	for i := range 2 * alikeMax {
		of(map[string]string{"a": strconv.Itoa(i)})
	}
	if got := len(c.labels); got > alikeMax {
		t.Errorf("%d sets of labels are kept for ever", got)
	}
	if b := of(map[string]string{"a": "unheard-of"}); b["a"] != "unheard-of" {
		t.Errorf("became %v", b)
	}
}

func TestProviderTokensOfOneProviderShareWhatStatusSaysOfIt(t *testing.T) {
	c := new(slimmer)
	of := func(name string) *v1alpha1.ProviderStatus {
		pt, err := c.slim(&v1alpha1.ProviderToken{Status: v1alpha1.ProviderTokenStatus{Provider: &v1alpha1.ProviderStatus{Name: name, Host: "host"}}})
		if err != nil {
			t.Fatal(err)
		}
		return pt.(*v1alpha1.ProviderToken).Status.Provider
	}
	if a, b := of("a"), of("a"); a != b || a.Name != "a" || a.Host != "host" {
		t.Errorf("%p %v, %p %v", a, a, b, b)
	}
	for i := range 2 * alikeMax {
		if name := strconv.Itoa(i); of(name).Name != name {
			t.Errorf("%s became %v", name, of(name))
		}
	}
	if got := len(c.providers); got > alikeMax {
		t.Errorf("%d are kept for ever", got)
	}
}

// A target is updated whole: what its cache dropped, the update would take from its owner.
func TestTheCacheOfTargetsKeepsAllThatAnUpdateSends(t *testing.T) {
	whole := &corev1.Secret{ObjectMeta: fat(), Type: "Opaque", Data: map[string][]byte{
		target.TokenKey: []byte("secret"), target.AuthorizationKey: []byte("Bearer secret"), "x": []byte("y"),
	}}
	want := whole.DeepCopy()
	want.ManagedFields = nil
	got, err := new(slimmer).target(whole)
	if diff := cmp.Diff(any(want), got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	s := got.(*corev1.Secret)
	if token, header := s.Data[target.TokenKey], s.Data[target.AuthorizationKey]; &token[0] != &header[len("Bearer ")] {
		t.Error("the token is there twice")
	}
	for _, data := range []map[string][]byte{nil, {target.TokenKey: []byte("x")}, {target.TokenKey: []byte("x"), target.AuthorizationKey: []byte("Bearer y")}} {
		want := (&corev1.Secret{Data: data}).DeepCopy()
		got, err := new(slimmer).target(&corev1.Secret{Data: data})
		if err != nil || !cmp.Equal(want.Data["token"], got.(*corev1.Secret).Data["token"]) || len(want.Data) != len(got.(*corev1.Secret).Data) {
			t.Errorf("%v became %v (%v)", want.Data, got, err)
		}
	}
}
