package main

import (
	"context"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/providertoken/operator/api/v1alpha1"
)

// noon is when the people of the gallery look.
func noon() time.Time { return time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC) }

func minutes(n int) metav1.Time { return metav1.NewTime(noon().Add(time.Duration(n) * time.Minute)) }

// backdated makes every object three days old at noon: an API server sets creation
// instants itself.
func backdated(c client.WithWatch) client.WithWatch {
	born := metav1.NewTime(noon().Add(-72 * time.Hour))
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if _, whole := o.(*corev1.Secret); whole {
				Fail("a command read the content of a Secret, not only how it is marked")
			}
			err := c.Get(ctx, key, o, opts...)
			o.SetCreationTimestamp(born)
			return err
		},
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, l, opts...)
			if all, is := l.(*v1alpha1.ProviderTokenList); is {
				if len(opts) > 0 && (&client.ListOptions{}).ApplyOptions(opts).Namespace == "" {
					all.Items = slices.DeleteFunc(all.Items, ofAnotherSpec)
				}
				for i := range all.Items {
					all.Items[i].SetCreationTimestamp(born)
				}
			}
			return err
		},
	})
}

// ofAnotherSpec tells what a world of its own has, which a look at the whole cluster would show.
func ofAnotherSpec(pt v1alpha1.ProviderToken) bool { return strings.HasPrefix(pt.Namespace, "spec-") }

// picture is a ProviderToken of the gallery, as an operator would have left it.
type picture struct {
	namespace, name string
	spec            v1alpha1.ProviderTokenSpec
	status          v1alpha1.ProviderTokenStatus
	metadata        metav1.ObjectMeta
}

func builtin(name, secret string) v1alpha1.ProviderTokenSpec {
	return v1alpha1.ProviderTokenSpec{
		ProviderRef: &v1alpha1.ProviderReference{Name: name}, Credentials: &v1alpha1.Credentials{SecretName: secret},
	}
}

// holding is the status of a token that was issued and expires so many minutes from noon.
func holding(issued, expires, refresh int) v1alpha1.ProviderTokenStatus {
	at := minutes(refresh)
	return v1alpha1.ProviderTokenStatus{
		Token:     &v1alpha1.TokenStatus{IssuedAt: minutes(issued), ExpiresAt: minutes(expires), ExpirySource: "ExpiresIn", Type: "Bearer"},
		RefreshAt: &at,
		Refresh:   &v1alpha1.RefreshPolicy{MinimumLead: &metav1.Duration{Duration: 2 * time.Minute}, MinimumInterval: &metav1.Duration{Duration: 30 * time.Second}},
	}
}

func stated(kind string, status metav1.ConditionStatus, since int, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: minutes(since), ObservedGeneration: 1}
}

// conditions are those of a token that works; further ones take the place of those of their type.
func conditions(provider, target string, changed ...metav1.Condition) []metav1.Condition {
	all := []metav1.Condition{
		stated("Ready", "True", -4000, "Ready", `Secret "`+target+`" holds a token that works`),
		stated("CredentialsResolved", "True", -4000, "Resolved", "the credentials for "+provider+" are there"),
		stated("TokenIssued", "True", -4000, "Issued", provider+" issued the token"),
		stated("SecretPublished", "True", -4000, "Published", `Secret "`+target+`" is as it should be`),
	}
	for _, c := range changed {
		known := false
		for i := range all {
			if all[i].Type == c.Type {
				all[i], known = c, true
			}
		}
		if !known {
			all = append(all, c)
		}
	}
	return all
}

func since(reason string, since int) *v1alpha1.FailureStatus {
	return &v1alpha1.FailureStatus{Reason: reason, Since: minutes(since)}
}

// pictures of every standing that there is.
func pictures() []picture {
	up42 := &v1alpha1.ProviderStatus{Kind: "Builtin", Name: "UP42", Method: "Password", Host: "auth.up42.com:443", TokenURL: "https://auth.up42.com/realms/public/protocol/openid-connect/token"}
	fine := holding(-18, 42, 21)
	fine.Provider, fine.Conditions = up42, conditions("UP42", "up42-token")

	const down = "SpatiaFi at auth.spatiafi.com:443: no answer (connection refused): the operator tries again by itself; the token in the Secret works until 2026-03-04T12:08:00Z"
	down1 := holding(-52, 8, -12)
	down1.Conditions = conditions("SpatiaFi", "spatiafi", stated("TokenIssued", "False", -11, "ProviderUnavailable", down))
	down1.Failure = since("ProviderUnavailable", -11)
	down1.Provider = &v1alpha1.ProviderStatus{Kind: "Builtin", Name: "SpatiaFi", Host: "auth.spatiafi.com:443"}

	const frozen = "UP42 at auth.up42.com:443: the username and password were refused (invalid_grant): correct username and password in the credential Secret; to keep the account from being locked, this login is not tried again before 2026-03-04T12:12:00Z, or until the credential Secret changes"
	lapsed := holding(-75, -15, -36)
	lapsed.Refresh.AtPercent = 80
	lapsed.Provider, lapsed.Failure = up42, since("LoginFrozen", -33)
	lapsed.Conditions = conditions("UP42", "archive-token",
		stated("Ready", "False", -15, "TokenExpired", `the token in Secret "archive-token" expired at 2026-03-04T11:45:00Z: `+frozen),
		stated("TokenIssued", "False", -33, "LoginFrozen", frozen),
		stated("Stalled", "True", -15, "LoginFrozen", frozen))

	const missing = `Secret "crm-login" is not there or not bound to ClusterTokenProvider.corp-sso: create it with the label providertoken.dev/credentials-for=ClusterTokenProvider.corp-sso`
	stuck1 := v1alpha1.ProviderTokenStatus{Failure: since("CredentialsNotFound", -25), Provider: &v1alpha1.ProviderStatus{Kind: "ClusterTokenProvider", Name: "corp-sso"}}
	stuck1.Conditions = []metav1.Condition{
		stated("Ready", "False", -25, "CredentialsNotFound", missing), stated("CredentialsResolved", "False", -25, "CredentialsNotFound", missing),
		stated("Stalled", "True", -15, "CredentialsNotFound", missing),
	}
	quiet := holding(-30, 30, 10)
	quiet.Provider, quiet.Conditions = up42, conditions("UP42", "nightly")
	quiet.RefreshAt = nil
	nightly := builtin("UP42", "up42-login")
	nightly.Suspend = true

	late := holding(-50, 10, -11)
	late.Conditions = conditions("PayPal", "paypal")
	late.Provider = &v1alpha1.ProviderStatus{Kind: "Builtin", Name: "PayPal", Host: "api-m.paypal.com:443"}
	return []picture{
		{namespace: "imagery", name: "up42-token", spec: builtin("UP42", "up42-login"), status: fine, metadata: metav1.ObjectMeta{Labels: map[string]string{"app": "viewer"}}},
		{namespace: "imagery", name: "spatiafi", spec: builtin("SpatiaFi", "spatiafi-app"), status: down1, metadata: metav1.ObjectMeta{Labels: map[string]string{"app": "viewer"}}},
		{namespace: "imagery", name: "archive-token", spec: builtin("UP42", "archive-login"), status: lapsed},
		{namespace: "imagery", name: "crm", spec: v1alpha1.ProviderTokenSpec{
			ProviderRef: &v1alpha1.ProviderReference{Kind: "ClusterTokenProvider", Name: "corp-sso"}, Credentials: &v1alpha1.Credentials{SecretName: "crm-login"},
		}, status: stuck1},
		{namespace: "imagery", name: "nightly", spec: nightly, status: quiet, metadata: metav1.ObjectMeta{
			Annotations: map[string]string{"argocd.argoproj.io/tracking-id": "imagery:providertoken.dev/ProviderToken:imagery/nightly"},
		}},
		{namespace: "imagery", name: "new", spec: builtin("PlantPredict", "plantpredict-login")},
		{namespace: "billing", name: "paypal", spec: builtin("PayPal", "paypal-app"), status: late},
	}
}

// hang makes the ProviderToken of a picture.
func (p *picture) hang(ctx context.Context, namespace string) *v1alpha1.ProviderToken {
	GinkgoHelper()
	pt := &v1alpha1.ProviderToken{ObjectMeta: p.metadata, Spec: p.spec}
	pt.Namespace, pt.Name = namespace, p.name
	Expect(k8s.Create(ctx, pt)).To(Succeed())
	if p.status.Conditions == nil {
		return pt
	}
	pt.Status = p.status
	pt.Status.ObservedGeneration, pt.Status.SecretName = pt.Generation, pt.TargetName()
	Expect(k8s.Status().Update(ctx, pt)).To(Succeed())
	return pt
}

// hang makes the gallery: what pictures says, and the objects around one of them.
func hang(ctx context.Context) {
	GinkgoHelper()
	for _, p := range pictures() {
		pt := p.hang(ctx, p.namespace)
		if p.name == "up42-token" || p.name == "archive-token" {
			hangEvents(ctx, pt)
		}
	}
	secret := func(name string, labels, annotations map[string]string) {
		Expect(k8s.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "imagery", Name: name, Labels: labels, Annotations: annotations},
			StringData: map[string]string{"password": "s3cret-that-nobody-sees"},
		})).To(Succeed())
	}
	secret("up42-login", map[string]string{v1alpha1.CredentialsForLabel: "UP42"}, nil)
	secret("archive-login", map[string]string{v1alpha1.CredentialsForLabel: "UP42"}, nil)
	secret("crm-login", map[string]string{v1alpha1.CredentialsForLabel: "UP42"}, nil)
	secret("up42-token", map[string]string{v1alpha1.TargetLabel: "true"}, map[string]string{
		v1alpha1.OwnerAnnotation: "imagery/up42-token", v1alpha1.ExpiresAtAnnotation: stamp(minutes(42).Time),
	})
	secret("archive-token", nil, map[string]string{v1alpha1.OwnerAnnotation: "imagery/archive-token", v1alpha1.ExpiresAtAnnotation: stamp(minutes(-15).Time)})
	secret("spatiafi", nil, map[string]string{v1alpha1.OwnerAnnotation: "elsewhere/spatiafi", v1alpha1.ExpiresAtAnnotation: stamp(minutes(8).Time)})
	hangPods(ctx)
}

func hangEvents(ctx context.Context, pt *v1alpha1.ProviderToken) {
	event := func(name string, at int, kind, reason, note string) *eventsv1.Event {
		return &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: pt.Namespace, Name: pt.Name + "-" + name}, EventTime: metav1.NewMicroTime(minutes(at).Time),
			Regarding: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "ProviderToken", Namespace: pt.Namespace, Name: pt.Name, UID: pt.UID},
			Type:      kind, Reason: reason, Note: note, Action: "Refresh", ReportingController: "providertoken", ReportingInstance: "manager-0",
		}
	}
	if pt.Name == "archive-token" {
		e := event("frozen", -33, "Warning", "LoginFrozen", "UP42 at auth.up42.com:443: the username and password were refused (invalid_grant)")
		e.Series = &eventsv1.EventSeries{Count: 3, LastObservedTime: metav1.NewMicroTime(minutes(-3).Time)}
		Expect(k8s.Create(ctx, e)).To(Succeed())
		return
	}
	Expect(k8s.Create(ctx, event("down", -120, "Warning", "ProviderUnavailable", "UP42 at auth.up42.com:443: no answer; the token in the Secret works until 2026-03-04T10:30:00Z"))).To(Succeed())
	Expect(k8s.Create(ctx, event("back", -110, "Normal", "Ready", `Secret "up42-token" holds a token that works`))).To(Succeed())
	other := event("other", -5, "Warning", "Other", "of an object of the same name that is gone")
	other.Regarding.UID = "gone"
	Expect(k8s.Create(ctx, other)).To(Succeed())
}

// hangPods makes pods that read Secret up42-token in every way.
func hangPods(ctx context.Context) {
	volume := corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "up42-token"}}}
	projected := corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "up42-token"}}}},
	}}}
	mount := corev1.VolumeMount{Name: "token", MountPath: "/token"}
	part := corev1.VolumeMount{Name: "token", MountPath: "/token", SubPath: "token"}
	variable := corev1.EnvVar{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: "up42-token"}, Key: "token",
	}}}
	pod := func(name, owner string, began int, phase corev1.PodPhase, labels map[string]string, spec corev1.PodSpec) {
		c := &spec.Containers[0]
		c.Name, c.Image = "main", "viewer"
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "imagery", Name: name, Labels: labels}, Spec: spec}
		if owner != "" {
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: owner, UID: "u", Controller: new(true)}}
		}
		Expect(k8s.Create(ctx, p)).To(Succeed())
		start := minutes(began)
		p.Status = corev1.PodStatus{Phase: phase, StartTime: &start}
		Expect(k8s.Status().Update(ctx, p)).To(Succeed())
	}
	with := func(v []corev1.Volume, c corev1.Container) corev1.PodSpec {
		return corev1.PodSpec{Volumes: v, Containers: []corev1.Container{c}}
	}
	for _, name := range []string{"viewer-a", "viewer-b", "viewer-c"} {
		pod(name, "viewer-5d8", -90, corev1.PodRunning, nil, with([]corev1.Volume{volume}, corev1.Container{VolumeMounts: []corev1.VolumeMount{mount}}))
	}
	pod("tiles-0", "", -90, corev1.PodRunning, map[string]string{v1alpha1.MountsLabel: ""}, with([]corev1.Volume{projected}, corev1.Container{VolumeMounts: []corev1.VolumeMount{mount}}))
	pod("report-1", "report-77c", -90, corev1.PodRunning, nil, with(nil, corev1.Container{Env: []corev1.EnvVar{variable}}))
	pod("legacy", "", -10, corev1.PodRunning, nil, with([]corev1.Volume{volume}, corev1.Container{VolumeMounts: []corev1.VolumeMount{part}}))
	pod("done", "", -90, corev1.PodSucceeded, nil, with([]corev1.Volume{volume}, corev1.Container{VolumeMounts: []corev1.VolumeMount{mount}}))
	pod("unrelated", "", -90, corev1.PodRunning, nil, with(nil, corev1.Container{}))
	private := with(nil, corev1.Container{})
	private.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "up42-token"}}
	pod("puller", "", -90, corev1.PodRunning, nil, private)
}
