package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

// Writer is the only code that writes targets.
type Writer struct {
	// Client writes. Nothing is read from it, so that no cache stands between.
	Client client.Client
	// Live reads from the API server, past every cache.
	Live client.Reader
}

// Get reads a Secret from the API server; nil without an error when it is absent.
func (w *Writer) Get(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error) {
	s := &corev1.Secret{}
	err := w.Live.Get(ctx, key, s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, classify(err, "read", key.Name)
	}
	return s, nil
}

// Apply makes the target what want, made by Render or Repair, says, by exactly
// one write and no read. have is the Secret that was observed, nil when absent,
// and is not changed. What others wrote into the metadata stays. It never
// writes onto a Secret that it did not observe: Reason Conflict means to read
// it live and to decide again. It refuses foreign and immutable Secrets and
// those of another type before any write. It returns the Secret as the API
// server did; errors are *Error.
func (w *Writer) Apply(ctx context.Context, have, want *corev1.Secret) (*corev1.Secret, error) {
	if have == nil {
		return w.create(ctx, want)
	}
	return w.update(ctx, have, want)
}

// Rehearse is Apply as a dry run: it finds missing permissions, quotas and
// admission policies without a token to lose. Reason Refused and TooLarge are
// reliable. Nil promises nothing where it was not tried: admission webhooks may be unfit
// for dry runs, which says nothing about the write itself and is no error here. Where
// it was tried, have is what there is, or there is none.
func (w *Writer) Rehearse(ctx context.Context, have, want *corev1.Secret) (tried bool, err error) {
	dry := &Writer{Client: client.NewDryRunClient(w.Client), Live: w.Live}
	_, err = dry.Apply(ctx, have, want)
	if apierrors.IsBadRequest(err) {
		return false, nil
	}
	return err == nil, err
}

func (w *Writer) create(ctx context.Context, want *corev1.Secret) (*corev1.Secret, error) {
	s := want.DeepCopy()
	if err := w.Client.Create(ctx, s); err != nil {
		return nil, classify(err, "create", want.Name)
	}
	return s, nil
}

func (w *Writer) update(ctx context.Context, have, want *corev1.Secret) (*corev1.Secret, error) {
	if client.ObjectKeyFromObject(have) != client.ObjectKeyFromObject(want) || have.ResourceVersion == "" {
		return nil, stale(want.Name, nil) // without a resourceVersion the update would be unconditional
	}
	if err := obstacle(have, want.Annotations[v1alpha1.OwnerAnnotation], want.Type); err != nil {
		return nil, err
	}
	s := merge(have, want)
	err := w.Client.Update(ctx, s)
	if apierrors.IsNotFound(err) {
		return nil, stale(want.Name, bare(err))
	}
	if err != nil {
		return nil, classify(err, "update", want.Name)
	}
	return s, nil
}

func stale(name string, err error) error {
	return &Error{Reason: Conflict, Problem: "Secret " + name + " is not what it was when it was read", Err: err}
}

// classify says what an API server's error means for a Secret of that name.
func classify(err error, verb, name string) error {
	action := fmt.Sprintf("%s Secret %s", verb, name)
	switch {
	case apierrors.IsAlreadyExists(err), apierrors.IsConflict(err):
		return stale(name, bare(err))
	case apierrors.IsRequestEntityTooLargeError(err):
		return &Error{Reason: TooLarge, Problem: "the API server found Secret " + name + " too large",
			Fix: "let target.template hold less", Err: bare(err)}
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return &Error{Reason: Refused, Problem: "the namespace is being deleted", Err: bare(err)}
	case apierrors.IsForbidden(err):
		return &Error{Reason: Refused, Problem: "the API server does not let the operator " + action,
			Fix: "look at the operator's permissions, and at the quotas and admission policies of the namespace", Err: bare(err)}
	case clientError(err):
		return &Error{Reason: Refused, Problem: fmt.Sprintf("the API server refused to %s (%s)", action, http.StatusText(statusCode(err))),
			Fix: "look at target.template, and at the admission policies of the namespace", Err: bare(err)}
	default:
		return &Error{Reason: Unavailable, Problem: "the API server did not " + action, Err: bare(err)}
	}
}

// clientError tells whether the same request would fail again. 401 is left
// out: the operator's own login is renewed behind its back.
func clientError(err error) bool {
	switch code := statusCode(err); code {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500
	}
}

// statusCode is the HTTP status of an API server's error; 0 for others.
func statusCode(err error) int {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return 0
	}
	return int(status.Status().Code)
}

// bare keeps of an error what programs need. An API server's message is left
// out: it may quote the object, and admission webhooks write what they like.
func bare(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return bareStatus(status.Status())
	}
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	if transport, ok := errors.AsType[*url.Error](err); ok {
		return transport
	}
	return nil
}

func bareStatus(s metav1.Status) error {
	b := metav1.Status{Status: metav1.StatusFailure, Code: s.Code, Reason: s.Reason, Message: http.StatusText(int(s.Code))}
	if s.Details != nil {
		b.Details = &metav1.StatusDetails{RetryAfterSeconds: s.Details.RetryAfterSeconds}
	}
	return &apierrors.StatusError{ErrStatus: b}
}
