package controller_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
)

// keycloak makes a ClusterTokenProvider of the catalog's Keycloak at the simulator,
// with a Secret for it and a ProviderToken that uses both.
func (w *world) keycloak(ctx SpecContext, method string, secret *corev1.Secret) *v1alpha1.ProviderToken {
	GinkgoHelper()
	p := &v1alpha1.ClusterTokenProvider{
		ObjectMeta: metav1.ObjectMeta{Name: w.Cluster("keycloak")},
		Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: v1alpha1.ProviderDefinition{
			Base: "Keycloak", Method: method, CABundle: w.Sim.CABundle(),
			Parameters: map[string]v1alpha1.ParameterValue{
				"host": v1alpha1.ParameterValue(w.Sim.Keycloak.Address()), "realm": providersim.KeycloakRealm,
			},
		}},
	}
	Expect(k8s.Create(ctx, p)).To(Succeed())
	DeferCleanup(func(ctx SpecContext) { Expect(client.IgnoreNotFound(k8s.Delete(ctx, p))).To(Succeed()) })
	secret.Namespace, secret.Name = w.Namespace, "keycloak-client"
	secret.Labels = map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + p.Name}
	Expect(k8s.Create(ctx, secret)).To(Succeed())
	pt := w.Wanted("keycloak")
	pt.Spec.Credentials = &v1alpha1.Credentials{SecretName: secret.Name}
	return pt
}

// newKey is an ECDSA key in PEM, as cert-manager and openssl write it.
func newKey() (*ecdsa.PrivateKey, string) {
	GinkgoHelper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Expect(err).NotTo(HaveOccurred())
	der, err := x509.MarshalECPrivateKey(key)
	Expect(err).NotTo(HaveOccurred())
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

var _ = Describe("a provider of the platform's own", func() {
	It("is trusted with a host that its ClusterTokenProvider sets, and lets no ProviderToken set another", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.keycloak(ctx, "", &corev1.Secret{StringData: map[string]string{
			"client_id": providersim.KeycloakClientID, "client_secret": providersim.KeycloakClientSecret,
		}})
		got := w.Ready(ctx, w.Create(ctx, pt))
		Expect(got.Status.Provider.Method).To(Equal("SecretBasic"))
		Expect(got.Status.Provider.TokenURL).To(Equal(w.Sim.Keycloak.TokenURL()))
		Expect(w.Sim.Keycloak.Accepts(w.Token(ctx, pt))).To(BeTrue())

		w.Edit(ctx, pt, func(p *v1alpha1.ProviderToken) {
			p.Spec.ProviderRef.Parameters = map[string]v1alpha1.ParameterValue{"host": v1alpha1.ParameterValue(w.Sim.Generic.Address())}
		})
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonInvalidCredentials)
		Expect(w.Sim.Generic.Calls()).To(BeEmpty())
	})

	It("takes an assertion signed with a key out of a JSON document, under another name", func(ctx SpecContext) {
		w := newWorld(ctx)
		key, text := newKey()
		w.Sim.Keycloak.SetKey("jwt-client", "key-1", key.Public())
		w.Operator()
		document, err := json.Marshal(map[string]any{"keys": []any{map[string]any{"pem": text, "id": "key-1"}}})
		Expect(err).NotTo(HaveOccurred())
		pt := w.keycloak(ctx, "PrivateKeyJWT", &corev1.Secret{StringData: map[string]string{"client_id": "jwt-client", "keys.json": string(document)}})
		pt.Spec.Credentials.Keys = []v1alpha1.CredentialKey{
			{Name: "private_key", Key: "keys.json#/keys/0/pem"}, {Name: "key_id", Key: "keys.json#/keys/0/id"},
		}
		w.Ready(ctx, w.Create(ctx, pt))
	})

	It("takes a client certificate out of a Secret of type kubernetes.io/tls, and the next one after it was renewed", func(ctx SpecContext) {
		w := newWorld(ctx)
		authority, authorityKey := newCertificate("clients", nil, nil, nil)
		w.Sim.Keycloak.SetSubjectDN("tls-client", authority, "CN=tls-client")
		issue := func() map[string][]byte {
			key, text := newKey()
			leaf, _ := newCertificate("tls-client", authority, authorityKey, key)
			return map[string][]byte{
				corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}),
				corev1.TLSPrivateKeyKey: []byte(text),
			}
		}
		w.Operator()
		Expect(k8s.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: w.Namespace, Name: "identity",
				Labels: map[string]string{v1alpha1.CredentialsForLabel: "ClusterTokenProvider." + w.Cluster("keycloak")},
			},
			Type: corev1.SecretTypeTLS, Data: issue(),
		})).To(Succeed())
		pt := w.keycloak(ctx, "TLS", &corev1.Secret{StringData: map[string]string{"client_id": "tls-client"}})
		pt.Spec.Credentials.Keys = []v1alpha1.CredentialKey{
			{Name: "certificate", SecretName: "identity", Key: corev1.TLSCertKey}, {Name: "private_key", SecretName: "identity", Key: corev1.TLSPrivateKeyKey},
		}
		w.Ready(ctx, w.Create(ctx, pt))

		renewed := &corev1.Secret{}
		Expect(k8s.Get(ctx, client.ObjectKey{Namespace: w.Namespace, Name: "identity"}, renewed)).To(Succeed())
		renewed.Data = issue()
		Expect(k8s.Update(ctx, renewed)).To(Succeed())
		w.StepToRefresh(ctx, pt)

		// Key and certificate that do not belong together are told before anything is sent.
		calls := len(w.Sim.Keycloak.Calls())
		renewed.Data[corev1.TLSPrivateKeyKey] = issue()[corev1.TLSPrivateKeyKey]
		Expect(k8s.Update(ctx, renewed)).To(Succeed())
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonInvalidCredentials)
		Expect(w.Sim.Keycloak.Calls()).To(HaveLen(calls))
	})

	It("names a credential that it does not know, and what it knows", func(ctx SpecContext) {
		w := newWorld(ctx)
		w.Operator()
		pt := w.keycloak(ctx, "", &corev1.Secret{StringData: map[string]string{"client_id": "x", "client_secret": "y"}})
		pt.Spec.Credentials.Keys = []v1alpha1.CredentialKey{{Name: "api_key", Key: "x"}}
		w.Create(ctx, pt)
		w.Becomes(ctx, pt, v1alpha1.CredentialsResolvedCondition, metav1.ConditionFalse, v1alpha1.ReasonInvalidCredentials)
		Expect(w.Condition(ctx, pt, v1alpha1.CredentialsResolvedCondition).Message).To(And(ContainSubstring(`"api_key"`), ContainSubstring("client_secret")))
	})
})

// newCertificate is one for a client, signed by the authority, or an authority of its
// own. The simulators' clock begins now.
func newCertificate(name string, authority *x509.Certificate, authorityKey crypto.Signer, key *ecdsa.PrivateKey) (*x509.Certificate, crypto.Signer) {
	GinkgoHelper()
	if key == nil {
		key, _ = newKey()
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	parent, signer := authority, authorityKey
	if authority == nil {
		template.IsCA, template.KeyUsage, parent, signer = true, x509.KeyUsageCertSign, template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	Expect(err).NotTo(HaveOccurred())
	made, err := x509.ParseCertificate(der)
	Expect(err).NotTo(HaveOccurred())
	return made, key
}
