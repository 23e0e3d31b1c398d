package controller

import (
	"context"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/providertoken/operator/api/v1alpha1"
)

func TestAnEventThatIsNotWrittenIsTriedOnceAndToldWhereThatIsNews(t *testing.T) {
	kind := schema.GroupResource{Group: "events.k8s.io", Resource: "events"}
	terminating := apierrors.NewForbidden(kind, "e", nil)
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, c := range map[string]struct {
		err  error
		told bool
	}{
		"written":                            {nil, false},
		"there already, its answer was lost": {apierrors.NewAlreadyExists(kind, "e"), false},
		"its namespace is being deleted":     {terminating, false},
		"not allowed":                        {apierrors.NewForbidden(kind, "e", nil), true},
	} {
		tries, lines := 0, ""
		failing := interceptor.NewClient(nil, interceptor.Funcs{Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			tries++
			return c.err
		}})
		a := &announcer{client: failing, log: funcr.New(func(_, line string) { lines += line }, funcr.Options{})}
		a.write(t.Context(), &eventsv1.Event{Reason: v1alpha1.ReasonIssued, Regarding: corev1.ObjectReference{Namespace: "ns", Name: "a"}})
		if tries != 1 || (lines != "") != c.told {
			t.Errorf("%s: %d tries, and the log says %q", name, tries, lines)
		}
		if c.told && (!strings.Contains(lines, `"ns/a"`) || !strings.Contains(lines, v1alpha1.ReasonIssued)) {
			t.Errorf("%s: the log does not tell of what: %q", name, lines)
		}
	}
}
