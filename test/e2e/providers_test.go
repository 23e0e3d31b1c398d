//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/providersim"
	"github.com/providertoken/operator/test/e2e/wire"
)

const (
	providerImage = "providertoken.test/provider:e2e"
	readerImage   = "providertoken.test/reader:e2e"
	readerLabel   = "providertoken.test/reader"
	// restricted is the number that the suite's Pods run as.
	restricted = 65532
)

// source is one simulated provider with the ProviderToken that is fed by it. All
// their names are its name; its target Secret is TargetName.
type source struct {
	name     string
	provider string
	lifetime time.Duration
	// lead and interval are the ProviderToken's minimumLead and minimumInterval; the
	// defaults when zero.
	lead, interval time.Duration
	definition     v1alpha1.ProviderDefinition
	credentials    map[string]string

	caBundle  string
	endpoints map[string]string
}

func (s *source) target() string { return s.name + "-token" }

// sources are chosen for a kubelet that takes its 60 to 90 s. A token of 200 s is
// refreshed after exactly 80 s: that is 120 s (the default lead) before its end,
// and 40 % of its life, before which nothing is refreshed. A shorter one could not
// be promised from a file without propagation; a longer one makes the suite longer.
// 220 s: after 88 to 100 s. 240 s with a lead of 144 s: after exactly 96 s, which
// leaves room for a longer outage.
func sources() []*source {
	return []*source{
		{
			name: "up42", provider: providersim.UP42Name, lifetime: 200 * time.Second,
			definition:  v1alpha1.ProviderDefinition{Base: "UP42"},
			credentials: map[string]string{"username": providersim.UP42Username, "password": providersim.UP42Password},
		},
		{
			name: "plantpredict", provider: providersim.PlantPredictName, lifetime: 220 * time.Second,
			definition:  v1alpha1.ProviderDefinition{Base: "PlantPredict"},
			credentials: map[string]string{"client_id": providersim.PlantPredictClientID, "client_secret": providersim.PlantPredictClientSecret},
		},
		{
			name: "spatiafi", provider: providersim.SpatiaFiName, lifetime: 240 * time.Second, lead: 144 * time.Second,
			definition:  v1alpha1.ProviderDefinition{Base: "SpatiaFi", Method: "AppToken"},
			credentials: map[string]string{"client_id": providersim.SpatiaFiClientID, "client_secret": providersim.SpatiaFiClientSecret},
		},
		{
			name: "up42-project", provider: providersim.UP42ProjectName, lifetime: 200 * time.Second,
			// Its answer tells no lifetime, and the catalog's is longer.
			definition:  v1alpha1.ProviderDefinition{Base: "UP42Project", TokenLifetime: &metav1.Duration{Duration: 200 * time.Second}},
			credentials: map[string]string{"project_id": providersim.UP42ProjectID, "project_api_key": providersim.UP42ProjectKey},
		},
		{
			// Its provider goes away for longer than a token lives: that the workload
			// then gets 401 shows that the suite would notice.
			name: doomed, provider: providersim.GenericName, lifetime: 200 * time.Second,
			credentials: map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret},
		},
	}
}

const doomed = "doomed"

// briefSources live too short for a kubelet's own pace; they need propagation. 30 s:
// refreshed after 17 to 20 s. 60 s: after 24 to 30 s, which leaves room for an outage.
func briefSources() []*source {
	credentials := map[string]string{"client_id": providersim.GenericClientID, "client_secret": providersim.GenericClientSecret}
	return []*source{
		{
			name: "thirty", provider: providersim.GenericName, credentials: credentials,
			lifetime: 30 * time.Second, lead: 8 * time.Second, interval: 5 * time.Second,
		},
		{
			name: "sixty", provider: providersim.GenericName, credentials: credentials,
			lifetime: 60 * time.Second, lead: 30 * time.Second, interval: 5 * time.Second,
		},
	}
}

// serve runs the provider as a Pod behind a Service.
func (s *source) serve(ctx context.Context, c *cluster) {
	GinkgoHelper()
	labels := map[string]string{"providertoken.test/provider": s.name}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: providerNamespace},
		Spec: corev1.ServiceSpec{
			Selector: labels,
			Ports:    []corev1.ServicePort{{Name: "https", Port: 443, TargetPort: intstr.FromInt32(443)}},
		},
	}
	Expect(c.client.Create(ctx, service)).To(Succeed())
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: providerNamespace, Labels: labels},
		Spec: corev1.PodSpec{
			RestartPolicy:                 corev1.RestartPolicyNever, // a new certificate would be another provider
			TerminationGracePeriodSeconds: new(int64),
			AutomountServiceAccountToken:  new(bool),
			SecurityContext:               podSecurity(),
			Containers: []corev1.Container{{
				Name: "provider", Image: providerImage, ImagePullPolicy: corev1.PullIfNotPresent,
				Args: []string{
					"-provider=" + s.provider, "-lifetime=" + s.lifetime.String(),
					"-address=" + service.Spec.ClusterIP, "-listen=$(POD_IP)",
				},
				Env: []corev1.EnvVar{{Name: "POD_IP", ValueFrom: &corev1.EnvVarSource{
					FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"},
				}}},
				SecurityContext: containerSecurity(),
				ReadinessProbe: &corev1.Probe{
					PeriodSeconds: 1,
					ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}},
				},
			}},
		},
	}
	// Port 443 without being root.
	pod.Spec.SecurityContext.Sysctls = []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "443"}}
	Expect(c.client.Create(ctx, pod)).To(Succeed())
}

// learn waits for the provider and remembers how to reach it.
func (s *source) learn(ctx context.Context, c *cluster) {
	GinkgoHelper()
	Eventually(func() error {
		state, err := s.state(ctx, c)
		s.caBundle, s.endpoints = state.CABundle, state.Endpoints
		return err
	}).WithContext(ctx).WithTimeout(soon).WithPolling(poll).Should(Succeed())
}

func (s *source) state(ctx context.Context, c *cluster) (wire.Provider, error) {
	var state wire.Provider
	err := c.fetch(ctx, providerNamespace, s.name, "state", &state)
	return state, err
}

// outage of the token endpoint; see the provider's desk for the kinds.
func (s *source) outage(ctx context.Context, c *cluster, kind string) {
	GinkgoHelper()
	Eventually(func() error { return c.instruct(ctx, providerNamespace, s.name, "outage/"+kind) }).
		WithContext(ctx).WithTimeout(30 * time.Second).WithPolling(poll).Should(Succeed())
}

// objects are what a platform and an application team commit.
func (s *source) objects() []client.Object {
	definition := s.definition
	definition.TokenURL, definition.CABundle = s.endpoints["token"], s.caBundle
	token := &v1alpha1.ProviderToken{
		ObjectMeta: metav1.ObjectMeta{Name: s.name, Namespace: workNamespace},
		Spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: v1alpha1.ClusterProvider, Name: clusterName(s)},
			Credentials: &v1alpha1.Credentials{SecretName: s.name + "-credentials"},
			Target:      &v1alpha1.Target{SecretName: s.target()},
		},
	}
	if s.lead != 0 {
		token.Spec.Refresh = &v1alpha1.RefreshPolicy{MinimumLead: &metav1.Duration{Duration: s.lead}}
		if s.interval != 0 {
			token.Spec.Refresh.MinimumInterval = &metav1.Duration{Duration: s.interval}
		}
	}
	return []client.Object{
		&v1alpha1.ClusterTokenProvider{ObjectMeta: metav1.ObjectMeta{Name: clusterName(s)}, Spec: v1alpha1.ClusterTokenProviderSpec{ProviderDefinition: definition}},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Name: s.name + "-credentials", Namespace: workNamespace,
				Labels: map[string]string{v1alpha1.CredentialsForLabel: v1alpha1.CredentialsForValue(v1alpha1.ClusterProvider, clusterName(s))},
			},
			StringData: s.credentials,
		},
		token,
	}
}

// clusterName keeps the suite's cluster-scoped objects apart from those of a
// cluster that is used for other things too.
func clusterName(s *source) string { return "e2e-" + s.name }

// token reads the ProviderToken.
func (s *source) token(ctx context.Context, c *cluster) (*v1alpha1.ProviderToken, error) {
	var pt v1alpha1.ProviderToken
	err := c.client.Get(ctx, client.ObjectKey{Namespace: workNamespace, Name: s.name}, &pt)
	return &pt, err
}

// refreshAt is when the token is planned to be refreshed.
func (s *source) refreshAt(ctx context.Context, c *cluster) (time.Time, error) {
	pt, err := s.token(ctx, c)
	if err != nil {
		return time.Time{}, err
	}
	if pt.Status.RefreshAt == nil {
		return time.Time{}, fmt.Errorf("%s has no token yet", s.name)
	}
	return pt.Status.RefreshAt.Time, nil
}

func podSecurity() *corev1.PodSecurityContext {
	yes, id := true, int64(restricted)
	return &corev1.PodSecurityContext{
		RunAsNonRoot: &yes, RunAsUser: &id, RunAsGroup: &id, FSGroup: &id,
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func containerSecurity() *corev1.SecurityContext {
	yes, no := true, false
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}
