package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// apiServer is a fake one that counts calls, and fails them if it is told to.
type apiServer struct {
	client.WithWatch
	fail  error
	calls []string
}

func newAPIServer(objects ...client.Object) *apiServer {
	a := &apiServer{}
	call := func(verb string) error {
		a.calls = append(a.calls, verb)
		return a.fail
	}
	a.WithWatch = fake.NewClientBuilder().WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if err := call("get"); err != nil {
				return err
			}
			return c.Get(ctx, key, obj, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if err := call("create"); err != nil {
				return err
			}
			return c.Create(ctx, obj, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			if err := call("update"); err != nil {
				return err
			}
			return c.Update(ctx, obj, opts...)
		},
	}).Build()
	return a
}

func (a *apiServer) writer() *Writer { return &Writer{Client: a, Live: a} }

func (a *apiServer) wantCalls(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, a.calls); diff != "" {
		t.Errorf("calls to the API server differ (-want +got):\n%s", diff)
	}
	a.calls = nil
}

// stored is what the fake API server holds, without counting as a call.
func (a *apiServer) stored(t *testing.T) *corev1.Secret {
	t.Helper()
	s, err := a.writer().Get(t.Context(), types.NamespacedName{Namespace: "imagery", Name: "up42-token"})
	if err != nil {
		t.Fatal(err)
	}
	a.calls = nil
	return s
}

func refreshed() Content {
	return newContent(func(c *Content) { c.Token.Access = token.NewSecret("eyJ.do-not-show.bmV3") })
}

func TestApplyWritesExactlyOnceAndReadsNothing(t *testing.T) {
	a := newAPIServer()
	first := mustRender(t, newOwner(), newContent())
	created, err := a.writer().Apply(t.Context(), nil, first)
	if err != nil {
		t.Fatal(err)
	}
	a.wantCalls(t, "create")
	if created.ResourceVersion == "" || !Matches(created, first) {
		t.Errorf("created %v, want what was rendered, with a resourceVersion", created.ObjectMeta)
	}

	second := mustRender(t, newOwner(), refreshed())
	before := created.DeepCopy()
	updated, err := a.writer().Apply(t.Context(), created, second)
	if err != nil {
		t.Fatal(err)
	}
	a.wantCalls(t, "update")
	if diff := cmp.Diff(before, created); diff != "" {
		t.Errorf("Apply changed the Secret that was observed, which may be a cache's:\n%s", diff)
	}
	if updated.ResourceVersion == created.ResourceVersion || !Matches(updated, second) {
		t.Errorf("updated to %v, want what was rendered, with a new resourceVersion", updated.ObjectMeta)
	}
	if diff := cmp.Diff(updated, a.stored(t)); diff != "" {
		t.Errorf("what Apply returned is not what is stored:\n%s", diff)
	}
}

func TestApplyKeepsWhatOthersWroteInTheMeantime(t *testing.T) {
	have := published(mustRender(t, newOwner(), newContent()), func(s *corev1.Secret) {
		s.Labels["velero.io/backup"] = "x"
		s.Finalizers = []string{"example.com/keep"}
	})
	a := newAPIServer(have)
	updated, err := a.writer().Apply(t.Context(), have, mustRender(t, newOwner(), refreshed()))
	if err != nil {
		t.Fatal(err)
	}
	if updated.Labels["velero.io/backup"] != "x" || len(updated.Finalizers) != 1 {
		t.Errorf("metadata of others is gone: %v", updated.ObjectMeta)
	}
}

func TestApplyNeverWritesOntoWhatItDidNotObserve(t *testing.T) {
	stored := published(mustRender(t, newOwner(), newContent()))
	want := mustRender(t, newOwner(), refreshed())
	tests := []struct {
		name   string
		stored client.Object
		have   *corev1.Secret
		calls  []string
	}{
		{"it was thought absent", stored, nil, []string{"create"}},
		{"it has changed since", stored, published(stored, func(s *corev1.Secret) { s.ResourceVersion = "6" }), []string{"update"}},
		{"it is gone", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "x"}}, stored, []string{"update"}},
		{"no resourceVersion was observed", stored, published(stored, func(s *corev1.Secret) { s.ResourceVersion = "" }), nil},
		{"another Secret was observed", stored, published(stored, func(s *corev1.Secret) { s.Name = "other" }), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAPIServer(tt.stored)
			before := a.stored(t)
			_, err := a.writer().Apply(t.Context(), tt.have, want)
			wantReason(t, err, Conflict)
			a.wantCalls(t, tt.calls...)
			if diff := cmp.Diff(before, a.stored(t)); diff != "" {
				t.Errorf("the stored Secret changed:\n%s", diff)
			}
		})
	}
}

func TestApplyRefusesWithoutAnyWrite(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(*corev1.Secret)
		reason Reason
	}{
		{"a Secret of nobody", annotate(v1alpha1.OwnerAnnotation, ""), Foreign},
		{"a Secret of another ProviderToken", annotate(v1alpha1.OwnerAnnotation, "imagery/other"), Foreign},
		{"a foreign Secret that is immutable as well", func(s *corev1.Secret) { s.Annotations = nil; makeImmutable(s) }, Foreign},
		{"an immutable Secret", makeImmutable, Immutable},
		{"a Secret of another type", func(s *corev1.Secret) { s.Type = corev1.SecretTypeBasicAuth }, TypeMismatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := mustRender(t, newOwner(), refreshed())
			have := published(mustRender(t, newOwner(), newContent()), tt.edit)
			a := newAPIServer()
			_, err := a.writer().Apply(t.Context(), have, want)
			e := wantReason(t, err, tt.reason)
			if e.Fix == "" {
				t.Errorf("%q does not say what to do", e)
			}
			a.wantCalls(t)
		})
	}
}

func TestApplyRefusesToWriteForNobody(t *testing.T) {
	want := mustRender(t, newOwner(), newContent())
	want.Annotations = nil
	_, err := newAPIServer().writer().Apply(t.Context(), published(want), want)
	wantReason(t, err, Foreign)
}

func TestErrorsOfTheAPIServerAreClassifiedAndNotRepeated(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	cause := errors.New(secretMark)
	terminating := apierrors.NewForbidden(secrets, "up42-token", cause)
	terminating.ErrStatus.Details.Causes = append(terminating.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	webhook := &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 418, Reason: secretMark, Message: secretMark}}
	invalid := apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "up42-token", field.ErrorList{field.Invalid(field.NewPath("data"), secretMark, secretMark)})
	tests := []struct {
		name   string
		err    error
		reason Reason
		says   string
		is     func(error) bool
	}{
		{"already exists", apierrors.NewAlreadyExists(secrets, "up42-token"), Conflict, "not what it was", apierrors.IsAlreadyExists},
		{"conflict", apierrors.NewConflict(secrets, "up42-token", cause), Conflict, "not what it was", apierrors.IsConflict},
		{"forbidden", apierrors.NewForbidden(secrets, "up42-token", cause), Refused, "does not let the operator create Secret up42-token", apierrors.IsForbidden},
		{"namespace going away", terminating, Refused, "the namespace is being deleted", apierrors.IsForbidden},
		{"namespace gone", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "imagery"), Refused, "refused to create Secret up42-token (Not Found)", apierrors.IsNotFound},
		{"invalid", invalid, Refused, "(Unprocessable Entity)", apierrors.IsInvalid},
		{"bad request", apierrors.NewBadRequest(secretMark), Refused, "(Bad Request)", apierrors.IsBadRequest},
		{"a webhook's own code", webhook, Refused, "(I'm a teapot)", nil},
		{"too large", apierrors.NewRequestEntityTooLargeError(secretMark), TooLarge, "too large", apierrors.IsRequestEntityTooLargeError},
		{"unauthorized", apierrors.NewUnauthorized(secretMark), Unavailable, "did not create", apierrors.IsUnauthorized},
		{"too many requests", apierrors.NewTooManyRequests(secretMark, 7), Unavailable, "did not create", func(err error) bool {
			after, ok := apierrors.SuggestsClientDelay(err)
			return ok && after == 7
		}},
		{"time-out", apierrors.NewTimeoutError(secretMark, 1), Unavailable, "did not create", apierrors.IsTimeout},
		{"server time-out", apierrors.NewServerTimeout(secrets, "create", 1), Unavailable, "did not create", apierrors.IsServerTimeout},
		{"a webhook that does not answer", apierrors.NewInternalError(cause), Unavailable, "did not create", apierrors.IsInternalError},
		{"not available", apierrors.NewServiceUnavailable(secretMark), Unavailable, "did not create", apierrors.IsServiceUnavailable},
		{"cancelled", fmt.Errorf("%s: %w", secretMark, context.Canceled), Unavailable, "did not create", func(err error) bool { return errors.Is(err, context.Canceled) }},
		{"deadline", fmt.Errorf("%s: %w", secretMark, context.DeadlineExceeded), Unavailable, "did not create", func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"connection lost", &url.Error{Op: "Post", URL: "https://10.0.0.1", Err: io.ErrUnexpectedEOF}, Unavailable, "did not create", func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"an answer that cannot be decoded", cause, Unavailable, "did not create", func(err error) bool { return errors.Unwrap(err) == nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newAPIServer()
			a.fail = tt.err
			_, err := a.writer().Apply(t.Context(), nil, mustRender(t, newOwner(), newContent()))
			e := wantReason(t, err, tt.reason)
			if !strings.Contains(e.Error(), tt.says) {
				t.Errorf("message is %q, want something with %q", e, tt.says)
			}
			if tt.is != nil && !tt.is(err) {
				t.Errorf("what kind of error it was is lost: %v", e.Err)
			}
			for err := error(e); err != nil; err = errors.Unwrap(err) {
				if strings.Contains(err.Error(), secretMark) {
					t.Errorf("%T repeats what the API server sent: %q", err, err)
				}
			}
		})
	}
}

func TestApplyReportsAnUpdateThatFailed(t *testing.T) {
	a := newAPIServer()
	a.fail = apierrors.NewInternalError(errors.New(secretMark))
	have := published(mustRender(t, newOwner(), newContent()))
	_, err := a.writer().Apply(t.Context(), have, mustRender(t, newOwner(), refreshed()))
	wantReason(t, err, Unavailable)
	a.wantCalls(t, "update")
}

func TestGet(t *testing.T) {
	key := types.NamespacedName{Namespace: "imagery", Name: "up42-token"}
	stored := published(mustRender(t, newOwner(), newContent()))

	a := newAPIServer(stored)
	s, err := a.writer().Get(t.Context(), key)
	if err != nil || s == nil || !Matches(s, stored) {
		t.Errorf("Get is %v, %v; want the Secret", s, err)
	}
	a.wantCalls(t, "get")

	s, err = newAPIServer().writer().Get(t.Context(), key)
	if s != nil || err != nil {
		t.Errorf("Get of an absent Secret is %v, %v; want nil, nil", s, err)
	}

	a.fail = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "up42-token", errors.New(secretMark))
	s, err = a.writer().Get(t.Context(), key)
	e := wantReason(t, err, Refused)
	if s != nil || !strings.Contains(e.Error(), "does not let the operator read Secret up42-token") {
		t.Errorf("Get is %v, %q", s, e)
	}
}

func TestRehearseWritesNothing(t *testing.T) {
	sample, err := Sample(newOwner())
	if err != nil {
		t.Fatal(err)
	}
	a := newAPIServer()
	if tried, err := a.writer().Rehearse(t.Context(), nil, sample); err != nil || !tried {
		t.Fatal(tried, err)
	}
	a.wantCalls(t, "create")
	if s := a.stored(t); s != nil {
		t.Error("a rehearsal created the Secret")
	}

	have := published(mustRender(t, newOwner(), newContent()))
	a = newAPIServer(have)
	if _, err := a.writer().Rehearse(t.Context(), have, sample); err != nil {
		t.Fatal(err)
	}
	a.wantCalls(t, "update")
	if s := a.stored(t); !Matches(s, have) {
		t.Error("a rehearsal changed the Secret")
	}
}

func TestRehearseFindsAQuotaButNotAWebhookThatKnowsNoDryRuns(t *testing.T) {
	sample, err := Sample(newOwner())
	if err != nil {
		t.Fatal(err)
	}
	a := newAPIServer()
	a.fail = apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "up42-token", errors.New("exceeded quota"))
	tried, err := a.writer().Rehearse(t.Context(), nil, sample)
	wantReason(t, err, Refused)
	if tried {
		t.Error("what was refused counts as tried")
	}
	a.fail = apierrors.NewBadRequest("admission webhook does not support dry run")
	if tried, err := a.writer().Rehearse(t.Context(), nil, sample); err != nil || tried {
		t.Errorf("a webhook that knows no dry runs stops the first token, or shows something: %t, %v", tried, err)
	}
}

func TestErrorWithoutAFixIsItsProblem(t *testing.T) {
	e := &Error{Problem: "it is broken"}
	if e.Error() != "it is broken" {
		t.Errorf("message is %q", e)
	}
}
