package provisioning

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/token"
)

// talkative is an API server whose admission quotes what it refuses.
type talkative struct{ client.Client }

func (talkative) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "app")
}

func (talkative) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	s, ok := o.(*corev1.Secret)
	if !ok {
		return errors.New("not a Secret")
	}
	return apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "app", errors.New("refused: "+string(s.Data["client_secret"])))
}

func TestNoErrorAboutStoringRepeatsWhatTheAPIServerQuotes(t *testing.T) {
	k := Keeper{Client: talkative{}}
	err := k.Store(t.Context(), Place{Secret: types.NamespacedName{Namespace: "imagery", Name: "app"}}, provider.Credentials{
		provider.CredClientSecret: token.NewSecret("shown-once"),
	})
	if err == nil || strings.Contains(err.Error(), "shown-once") || !strings.Contains(err.Error(), "403 Forbidden") || !strings.Contains(err.Error(), "imagery/app") {
		t.Errorf("%v", err)
	}
}
