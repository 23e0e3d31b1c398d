package workload

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/consent"
	"github.com/providertoken/operator/internal/token"
)

// lifetime of a token, in seconds: the shortest that the API server issues. It is
// used at once and thrown away.
const lifetime = 600

// maxRemembered bounds the audiences of which it is remembered what the API server thinks.
const maxRemembered = 4096

// overlay is what a cluster's owner applies to allow all this.
const overlay = "config/workload-identity (Helm: workloadIdentity.enabled)"

// Identity is what a token is wanted for.
type Identity struct {
	// Namespace and Name of the ServiceAccount.
	Namespace, Name string
	// Audience is the only one that the token will be good for.
	Audience string
	// Host is where the token will be sent: host:port, in lower case.
	Host string
}

// Options of an Issuer.
type Options struct {
	// OwnToken is what the operator itself is known by to the API server; empty when
	// that is no token. Its audiences, its issuer and its subject are never served.
	OwnToken string
	// OwnNamespace is the operator's, where no ServiceAccount is served; empty when the
	// operator works for single namespaces, of which its own may be one.
	OwnNamespace string
	// APIAudiences are further audiences of the API server.
	APIAudiences []string
}

// Issuer gets tokens of ServiceAccounts. Its methods may be called from any goroutine.
type Issuer struct {
	client       client.Client
	ownNamespace string
	ownSubject   string

	mu sync.Mutex
	// reserved audiences are the API server's: given, or found out.
	reserved map[string]bool
	// reviews of other audiences, each made once.
	reviews map[string]*review
}

// review is what the API server thinks of an audience.
type review struct {
	mu sync.Mutex
	// foreign is true once the API server was seen to refuse a token for it.
	foreign bool
}

// New makes an Issuer that reads and writes by c, which must not have a cache.
func New(c client.Client, o Options) *Issuer {
	i := &Issuer{client: c, ownNamespace: o.OwnNamespace, reserved: map[string]bool{}, reviews: map[string]*review{}}
	reserved := o.APIAudiences
	if own, ok := parse(o.OwnToken); ok {
		i.ownSubject = own.Subject
		reserved = slices.Concat(reserved, own.Audience, []string{own.Issuer})
	}
	for _, audience := range reserved {
		i.reserved[same(audience)] = true
	}
	return i
}

// Permits tells, without asking anybody, whether a token may be wanted at all: nil,
// or an *Error of kind Refused.
func (i *Issuer) Permits(id Identity) error {
	switch {
	case len(validation.IsDNS1123Subdomain(id.Name)) > 0:
		return refused("%q cannot be the name of a ServiceAccount; write the name alone, of one in namespace %s", id.Name, id.Namespace)
	case id.Audience == "":
		return refused("the token of ServiceAccount %q needs an audience; set credentials.serviceAccount.audience to what the provider expects", id.Name)
	case strings.Contains(id.Audience, ","):
		return refused("the audience %q holds a comma, so that no annotation can list it; use another one", id.Audience)
	case i.isReserved(id.Audience):
		return refused("the audience %q is the API server's, and a token for it is never given away; set credentials.serviceAccount.audience to one of the provider's own", id.Audience)
	case strings.HasPrefix(id.Namespace, "kube-"):
		return refused("ServiceAccounts of namespace %s belong to the cluster and are not served; use one of another namespace", id.Namespace)
	case id.Namespace == i.ownNamespace || subject(id) == i.ownSubject:
		return refused("ServiceAccount %q is the operator's own, or in its namespace, and is not served; use one of another namespace", id.Name)
	}
	return nil
}

func refused(format string, args ...any) *Error {
	return &Error{Kind: Refused, Message: fmt.Sprintf(format, args...)}
}

func subject(id Identity) string {
	return "system:serviceaccount:" + id.Namespace + ":" + id.Name
}

func (i *Issuer) isReserved(audience string) bool {
	audience = same(audience)
	if wellKnown(audience) {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reserved[audience]
}

// Check tells, by one read of the ServiceAccount, whether it consents. The error is an *Error.
func (i *Issuer) Check(ctx context.Context, id Identity) error {
	_, err := i.check(ctx, id)
	return err
}

func (i *Issuer) check(ctx context.Context, id Identity) (*corev1.ServiceAccount, error) {
	if err := i.Permits(id); err != nil {
		return nil, err
	}
	account := &corev1.ServiceAccount{}
	err := i.client.Get(ctx, client.ObjectKey{Namespace: id.Namespace, Name: id.Name}, account)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, explain(err, "read ServiceAccounts")
	}
	if err != nil || !account.DeletionTimestamp.IsZero() || !consents(account, id) {
		return nil, unwilling(id)
	}
	return account, nil
}

func consents(account *corev1.ServiceAccount, id Identity) bool {
	return consent.Audiences(account.Annotations[v1alpha1.AllowedAudiencesAnnotation], id.Audience) &&
		consent.Hosts(account.Annotations[v1alpha1.AllowedHostsAnnotation], id.Host)
}

func unwilling(id Identity) *Error {
	return &Error{Kind: Unwilling, Message: fmt.Sprintf(
		"there is no ServiceAccount %q in namespace %s that permits this; create it, and let its annotations list (comma-separated) what its token is for: %s: %q and %s: %q",
		id.Name, id.Namespace, v1alpha1.AllowedAudiencesAnnotation, id.Audience, v1alpha1.AllowedHostsAnnotation, id.Host)}
}

// Fetch gets a token of the ServiceAccount for that audience alone, which the caller
// may send to that host and to nobody else. It costs two requests, and two more for
// an audience that is new to this process. The error is an *Error.
func (i *Issuer) Fetch(ctx context.Context, id Identity) (token.Secret, error) {
	account, err := i.check(ctx, id)
	if err != nil {
		return token.Secret{}, err
	}
	request := &authenticationv1.TokenRequest{
		// A ServiceAccount that was made anew since it was read has not consented.
		ObjectMeta: metav1.ObjectMeta{UID: account.UID},
		Spec:       authenticationv1.TokenRequestSpec{Audiences: []string{id.Audience}, ExpirationSeconds: new(int64(lifetime))},
	}
	switch err := i.client.SubResource("token").Create(ctx, account, request); {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err):
		return token.Secret{}, unwilling(id)
	case err != nil:
		return token.Secret{}, explain(err, "create tokens of ServiceAccounts")
	}
	issued := request.Status.Token
	if c, ok := parse(issued); !ok || !slices.Equal(c.Audience, []string{id.Audience}) || c.Subject != subject(id) || c.Kubernetes.ServiceAccount.UID != string(account.UID) {
		return token.Secret{}, &Error{Kind: Unavailable, Message: fmt.Sprintf(
			"the API server issued a token that is not, or not only, of ServiceAccount %q for audience %q; nothing was sent", id.Name, id.Audience)}
	}
	if err := i.review(ctx, id, issued); err != nil {
		return token.Secret{}, err
	}
	return token.NewSecret(issued), nil
}

// review makes sure that the API server itself does not accept the token: whoever
// gets it could act as the ServiceAccount then. Which audiences the API server
// accepts is a flag of its own that no API tells. It is asked once for each audience.
func (i *Issuer) review(ctx context.Context, id Identity, issued string) error {
	r := i.reviewOf(id.Audience)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.foreign {
		return nil
	}
	accepted, err := i.accepts(ctx, issued) // by the API server, for itself
	if err != nil {
		return err
	}
	if accepted {
		i.mu.Lock()
		i.reserved[same(id.Audience)] = true
		i.mu.Unlock()
		return i.Permits(id)
	}
	// It must be the audience why not: a token that is not valid at all teaches nothing.
	if accepted, err = i.accepts(ctx, issued, id.Audience); err != nil {
		return err
	}
	if !accepted {
		return &Error{Kind: Unavailable, Message: "the API server does not know the token that it has just issued; it is tried again"}
	}
	r.foreign = true
	return nil
}

// accepts tells whether the API server finds the token valid for one of these
// audiences; for its own when there are none.
func (i *Issuer) accepts(ctx context.Context, issued string, audiences ...string) (bool, error) {
	question := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: issued, Audiences: audiences}}
	if err := i.client.Create(ctx, question); err != nil {
		failed := explain(err, "review tokens")
		failed.Cause = nil // an admission webhook may quote the question, and with that the token
		return false, failed
	}
	return question.Status.Authenticated, nil
}

func (i *Issuer) reviewOf(audience string) *review {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.reviews[audience]
	if r == nil {
		if len(i.reviews) >= maxRemembered {
			clear(i.reviews)
		}
		r = &review{}
		i.reviews[audience] = r
	}
	return r
}

// explain says what an error of the API server means for who waits.
func explain(err error, what string) *Error {
	switch {
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return &Error{Kind: Forbidden, Cause: err, Message: "the operator may not " + what + ", or not this one; ask who runs it to apply " + overlay}
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return &Error{Kind: Forbidden, Cause: err, Message: "an admission policy of the cluster, such as providertoken-workload-identity, or the API server itself does not let the operator " +
			what + " for this ServiceAccount and audience; use others, or ask who runs the cluster"}
	}
	return &Error{Kind: Unavailable, Cause: err, Message: "the API server did not let the operator " + what + " just now; it is tried again"}
}
