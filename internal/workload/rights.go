package workload

import (
	"context"
	"errors"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrNotAllowed means that the operator lacks the rights to get tokens of ServiceAccounts.
var ErrNotAllowed = errors.New("the operator may not read ServiceAccounts, create their tokens and review tokens: apply " + overlay + ", or leave --workload-identity off")

// Allowed asks the API server whether the operator has the rights that it needs in
// these namespaces; in all when there are none. It returns ErrNotAllowed when not.
func Allowed(ctx context.Context, c client.Client, namespaces []string) error {
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	needs := []authorizationv1.ResourceAttributes{
		{Verb: "create", Group: "authentication.k8s.io", Resource: "tokenreviews"},
	}
	for _, namespace := range namespaces {
		needs = append(needs,
			authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "get", Resource: "serviceaccounts"},
			authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "create", Resource: "serviceaccounts", Subresource: "token"})
	}
	for i := range needs {
		review := &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &needs[i]},
		}
		if err := c.Create(ctx, review); err != nil {
			return fmt.Errorf("asking for the rights that --workload-identity needs: %w", err)
		}
		if !review.Status.Allowed {
			return ErrNotAllowed
		}
	}
	return nil
}
