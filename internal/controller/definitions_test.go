package controller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/source"
)

func TestADefinitionIsReadOnceForEachEditionOfWhatItIsMadeOf(t *testing.T) {
	s := settle(t, v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: "corp"})
	stored := func(like client.Object, key client.ObjectKey) client.Object {
		return s.objects[s.key(like, key)].DeepCopyObject().(client.Object)
	}
	pt := stored(&v1alpha1.ProviderToken{}, s.request.NamespacedName).(*v1alpha1.ProviderToken)
	corp := stored(&v1alpha1.ClusterTokenProvider{}, client.ObjectKey{Name: "corp"}).(*v1alpha1.ClusterTokenProvider)
	read := func() *source.Definition {
		t.Helper()
		o, p, err := s.finder().Find(t.Context(), pt)
		if err != nil || p != nil {
			t.Fatal(p, err)
		}
		return o.Definition
	}
	// edit changes the provider, with the resource version that is to be.
	edit := func(change func(*v1alpha1.ClusterTokenProvider)) {
		corp = corp.DeepCopy()
		s.put(corp)
		change(corp)
	}
	first := read()
	if first != read() {
		t.Error("it is read twice without an edit")
	}
	edit(func(p *v1alpha1.ClusterTokenProvider) { p.Spec.TokenURL = "https://sso.example.com/edited" })
	if got := read().TokenURL; got != "https://sso.example.com/edited" {
		t.Errorf("after an edit it is still %s", got)
	}
	edited := corp.ResourceVersion
	edit(func(p *v1alpha1.ClusterTokenProvider) {
		p.Spec.TokenURL, p.UID, p.ResourceVersion = "https://sso.example.com/anew", "another", edited
	})
	if got := read().TokenURL; got != "https://sso.example.com/anew" {
		t.Errorf("after it was made anew it is still %s", got)
	}
	bundle := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "platform", Name: "ca"}, Data: map[string]string{"ca.crt": "one"}}
	s.put(bundle)
	edit(func(p *v1alpha1.ClusterTokenProvider) {
		p.Spec.CABundleRef = &v1alpha1.ConfigMapKeyReference{Namespace: "platform", Name: "ca"}
	})
	if got := read().CABundle; got != "one" {
		t.Errorf("the bundle is %q", got)
	}
	bundle = bundle.DeepCopy()
	bundle.Data["ca.crt"] = "two"
	s.put(bundle)
	if got := read().CABundle; got != "two" {
		t.Errorf("after the ConfigMap was edited the bundle is %q", got)
	}
	// The cluster was put back, and the version came again with another content.
	edit(func(*v1alpha1.ClusterTokenProvider) {})
	read()
	corp.Spec.TokenURL = "https://sso.example.com/restored"
	s.definitions.Forget()
	if got := read().TokenURL; got != "https://sso.example.com/restored" {
		t.Errorf("after a restore it is still %s", got)
	}
}
