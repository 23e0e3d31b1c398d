package workload

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/providertoken/operator/api/v1alpha1"
)

func jwt(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

func TestAudiencesOfTheAPIServerAreRefusedBeforeAskingForAToken(t *testing.T) {
	own := jwt(`{"iss":"https://issuer.example/x","aud":["https://issuer.example/x","k3s"],"sub":"system:serviceaccount:ops:manager"}`)
	i := New(nil, Options{OwnToken: own, APIAudiences: []string{"https://API.example/"}})
	for audience, ok := range map[string]bool{
		"": false, "a,b": false,
		"https://kubernetes.default.svc": false, "https://kubernetes.default.svc/": false, "HTTPS://Kubernetes.Default.Svc": false,
		"https://kubernetes.default.svc:443": false, "https://kubernetes.default.svc.cluster.local": false, "https://kubernetes.default.svc.corp.example": false,
		"kubernetes.default.svc": false, "kubernetes.default": false, "https://kubernetes": false, "kubernetes": false, "api": false,
		"http://kubernetes.default.svc/x": false, "kubernetes.default.svc.": false,
		"https://issuer.example/x": false, "https://issuer.example/x/": false, "k3s": false, "https://api.example": false,
		"api://AzureADTokenExchange": true, "https://issuer.example": true, "https://api.example.com": true, "https://kubernetes.example": true,
		"urn:kubernetes": true, "sts.amazonaws.com": true, "https://sso.example/realms/api": true, "//iam.googleapis.com/projects/1": true,
	} {
		err := i.Permits(Identity{Namespace: "team", Name: "app", Audience: audience, Host: "sso.example:443"})
		if (err == nil) != ok {
			t.Errorf("%q: got %v", audience, err)
		}
		if err != nil && kind(err) != Refused {
			t.Errorf("%q: is %s", audience, kind(err))
		}
	}
}

func TestServiceAccountsOfTheClusterAndOfTheOperatorAreRefused(t *testing.T) {
	own := jwt(`{"aud":"x","sub":"system:serviceaccount:ops:manager"}`)
	clusterWide, single := New(nil, Options{OwnToken: own, OwnNamespace: "ops"}), New(nil, Options{OwnToken: own})
	for _, c := range []struct {
		issuer          *Issuer
		namespace, name string
		want            bool
	}{
		{clusterWide, "team", "manager", true},
		{clusterWide, "team", "other/app", false},
		{clusterWide, "team", "../other/app", false},
		{clusterWide, "team", "other:app", false},
		{clusterWide, "kube-system", "app", false},
		{clusterWide, "kubernetes", "app", true},
		{clusterWide, "ops", "app", false},
		{single, "ops", "app", true},
		{single, "ops", "manager", false},
		{New(nil, Options{}), "ops", "manager", true},
	} {
		err := c.issuer.Permits(Identity{Namespace: c.namespace, Name: c.name, Audience: "a", Host: "b:443"})
		if (err == nil) != c.want {
			t.Errorf("%s/%s: got %v", c.namespace, c.name, err)
		}
	}
}

func kind(err error) Kind {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Kind
}

var wanted = Identity{Namespace: "team", Name: "app", Audience: "sso", Host: "sso.example:443"}

// server is an API server of which each answer can be replaced.
type server struct {
	account *corev1.ServiceAccount
	token   string
	// accepted are the audiences, "" for the API server's own, for which a review finds the token valid.
	accepted map[string]bool
	read     error
	create   error
	review   error
	calls    []string
}

func newServer() *server {
	return &server{
		account: &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app", UID: "u1", Annotations: map[string]string{
			v1alpha1.AllowedAudiencesAnnotation: "other, sso", v1alpha1.AllowedHostsAnnotation: "sso.example",
		}}},
		token:    jwt(`{"aud":["sso"],"sub":"system:serviceaccount:team:app","kubernetes.io":{"serviceaccount":{"uid":"u1"}}}`),
		accepted: map[string]bool{"sso": true},
	}
}

func (s *server) client() client.Client {
	return fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
			s.calls = append(s.calls, "get "+key.String())
			if s.read != nil || s.account == nil {
				return errors.Join(s.read, missing(s.account))
			}
			s.account.DeepCopyInto(o.(*corev1.ServiceAccount))
			return nil
		},
		SubResourceCreate: func(_ context.Context, _ client.Client, sub string, o, body client.Object, _ ...client.SubResourceCreateOption) error {
			request := body.(*authenticationv1.TokenRequest)
			s.calls = append(s.calls, fmt.Sprintf("create %s/%s/%s %v %d %s", o.GetNamespace(), o.GetName(), sub, request.Spec.Audiences, *request.Spec.ExpirationSeconds, request.UID))
			request.Status.Token = s.token
			return s.create
		},
		Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
			review := o.(*authenticationv1.TokenReview)
			s.calls = append(s.calls, fmt.Sprint("review ", review.Spec.Audiences))
			if review.Spec.Token != s.token {
				return errors.New("not that token")
			}
			review.Status.Authenticated = s.accepted[strings.Join(review.Spec.Audiences, ",")]
			return s.review
		},
	}).Build()
}

func missing(account *corev1.ServiceAccount) error {
	if account != nil {
		return nil
	}
	return apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, "app")
}

func TestATokenIsForOneAudienceAndIsReviewedOnce(t *testing.T) {
	s := newServer()
	i := New(s.client(), Options{})
	for range 2 {
		got, err := i.Fetch(t.Context(), wanted)
		if err != nil || got.Reveal() != s.token {
			t.Fatalf("got %v", err)
		}
	}
	want := "get team/app|create team/app/token [sso] 600 u1|review []|review [sso]|get team/app|create team/app/token [sso] 600 u1"
	if got := strings.Join(s.calls, "|"); got != want {
		t.Errorf("asked\n%s, not\n%s", got, want)
	}
}

func TestThereIsNoTokenUnlessEverythingIsRight(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "serviceaccounts"}, "app", errors.New("no"))
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "TokenRequest"}, "app", nil)
	busy := apierrors.NewTooManyRequests("busy", 1)
	annotated := func(name, value string) func(*server) {
		return func(s *server) { s.account.Annotations[name] = value }
	}
	for name, c := range map[string]struct {
		change func(*server)
		want   Kind
	}{
		"no ServiceAccount":           {func(s *server) { s.account = nil }, Unwilling},
		"no annotation":               {func(s *server) { s.account.Annotations = nil }, Unwilling},
		"another audience":            {annotated(v1alpha1.AllowedAudiencesAnnotation, "SSO"), Unwilling},
		"another host":                {annotated(v1alpha1.AllowedHostsAnnotation, "sso.example:8443"), Unwilling},
		"a ServiceAccount that goes":  {func(s *server) { now := metav1.Now(); s.account.DeletionTimestamp = &now }, Unwilling},
		"gone meanwhile":              {func(s *server) { s.create = missing(nil) }, Unwilling},
		"made anew meanwhile":         {func(s *server) { s.create = apierrors.NewConflict(schema.GroupResource{}, "app", errors.New("uid")) }, Unwilling},
		"made anew, by an old server": {func(s *server) { s.account.UID = types.UID("u2") }, Unavailable},
		"more audiences than asked for": {func(s *server) {
			s.token = jwt(`{"aud":["sso","api2"],"sub":"system:serviceaccount:team:app","kubernetes.io":{"serviceaccount":{"uid":"u1"}}}`)
		}, Unavailable},
		"another's token": {func(s *server) {
			s.token = jwt(`{"aud":["sso"],"sub":"system:serviceaccount:team:b","kubernetes.io":{"serviceaccount":{"uid":"u1"}}}`)
		}, Unavailable},
		"no JWT":                     {func(s *server) { s.token = "opaque" }, Unavailable},
		"accepted by the API server": {func(s *server) { s.accepted[""] = true }, Refused},
		"valid for nobody":           {func(s *server) { s.accepted = nil }, Unavailable},
		"may not read":               {func(s *server) { s.read = forbidden }, Forbidden},
		"may not create":             {func(s *server) { s.create = forbidden }, Forbidden},
		"refused by policy":          {func(s *server) { s.create = invalid }, Forbidden},
		"may not review":             {func(s *server) { s.review = forbidden }, Forbidden},
		"review fails":               {func(s *server) { s.review = busy }, Unavailable},
		"read fails":                 {func(s *server) { s.read = busy }, Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			c.change(s)
			got, err := New(s.client(), Options{}).Fetch(t.Context(), wanted)
			if kind(err) != c.want || !got.IsZero() {
				t.Errorf("got a token: %v, and %v (%s), not %s", !got.IsZero(), err, kind(err), c.want)
			}
			if err != nil && strings.Contains(err.Error(), s.token) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

func TestMissingAndUnwillingReadTheSame(t *testing.T) {
	s := newServer()
	s.account.Annotations = nil
	_, unwilling := New(s.client(), Options{}).Fetch(t.Context(), wanted)
	s.account = nil
	_, missing := New(s.client(), Options{}).Fetch(t.Context(), wanted)
	if unwilling == nil || missing == nil || unwilling.Error() != missing.Error() {
		t.Fatalf("%v; %v", unwilling, missing)
	}
	for _, part := range []string{`"app"`, "namespace team", `providertoken.dev/allowed-audiences: "sso"`, `providertoken.dev/allowed-hosts: "sso.example:443"`} {
		if !strings.Contains(missing.Error(), part) {
			t.Errorf("%v does not tell %s", missing, part)
		}
	}
}

func TestAnAudienceThatTheAPIServerAcceptsIsRemembered(t *testing.T) {
	s := newServer()
	s.accepted[""] = true
	i := New(s.client(), Options{})
	_, err := i.Fetch(t.Context(), wanted)
	if kind(err) != Refused {
		t.Fatal(err)
	}
	asked := len(s.calls)
	if _, again := i.Fetch(t.Context(), wanted); kind(again) != Refused || len(s.calls) != asked {
		t.Errorf("asked again: %v, %v", again, s.calls[asked:])
	}
	if i.Permits(wanted) == nil {
		t.Error("permitted although it is known to be refused")
	}
}

func TestAReviewThatTaughtNothingIsRepeated(t *testing.T) {
	s := newServer()
	s.accepted = nil
	i := New(s.client(), Options{})
	if _, err := i.Fetch(t.Context(), wanted); kind(err) != Unavailable {
		t.Fatal(err)
	}
	s.accepted = map[string]bool{"": true, "sso": true}
	if _, err := i.Fetch(t.Context(), wanted); kind(err) != Refused {
		t.Errorf("got %v", err)
	}
}

func TestARefusedReviewDoesNotRepeatTheTokenThatAWebhookQuotes(t *testing.T) {
	s := newServer()
	s.review = apierrors.NewForbidden(schema.GroupResource{Resource: "tokenreviews"}, "", errors.New("refused: "+s.token))
	_, err := New(s.client(), Options{}).Fetch(t.Context(), wanted)
	if kind(err) != Forbidden {
		t.Fatal(err)
	}
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		if strings.Contains(cause.Error(), s.token) {
			t.Errorf("the token is in %v", cause)
		}
	}
}

func TestWhatIsRememberedOfAudiencesIsBounded(t *testing.T) {
	s := newServer()
	i := New(s.client(), Options{})
	for n := range maxRemembered + 10 {
		i.reviewOf(fmt.Sprint("audience-", n))
	}
	if len(i.reviews) > maxRemembered {
		t.Errorf("%d audiences", len(i.reviews))
	}
}
