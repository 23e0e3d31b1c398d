package provisioning

import (
	"context"
	"errors"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
)

// State is what a Secret for provisioned credentials says of itself.
type State string

const (
	// Absent: nothing was begun.
	Absent State = ""
	// Begun: the request was about to be sent, and its outcome was never written down.
	Begun State = "begun"
	// Refused: the request was sent, and no credentials were made.
	Refused State = "refused"
	// Made: the credentials are there.
	Made State = "made"
)

const (
	stateAnnotation = "providertoken.dev/provisioning"
	// madeForAnnotation is namespace/name of the ProviderToken that asked. It is not
	// v1alpha1.OwnerAnnotation, which would let the Secret be overwritten as a target.
	madeForAnnotation = "providertoken.dev/provisioned-for"
	// confirmedAnnotation is the last value of v1alpha1.ConfirmAnnotation that was served.
	confirmedAnnotation = "providertoken.dev/provisioning-confirmed"
)

// Place is where provisioned credentials are kept, and for whom.
type Place struct {
	// Secret that keeps them.
	Secret types.NamespacedName
	// CredentialsFor is the value of the label that binds them to their provider.
	CredentialsFor string
	// AllowedHosts is copied from the Secret that they are made with; may be empty.
	AllowedHosts string
	// Owner is namespace/name of the ProviderToken that they are made for; empty on a laptop.
	Owner string
	// Confirmed is the ProviderToken's v1alpha1.ConfirmAnnotation; may be empty.
	Confirmed string
}

// Errors of Begin.
var (
	// ErrUnknownOutcome: an earlier request was begun, and what came of it is not known.
	ErrUnknownOutcome = errors.New("an earlier attempt to make credentials has no known outcome")
	// ErrMade: the credentials are there already.
	ErrMade = errors.New("the credentials are there already")
	// ErrForeign: the Secret belongs to something else.
	ErrForeign = errors.New("a Secret of that name exists and is not for provisioned credentials of this ProviderToken")
)

// StateOf reads what s says of itself. One that holds credentials is Made, whoever
// wrote it: somebody may have brought it from Git.
func StateOf(s *corev1.Secret) State {
	switch {
	case s == nil:
		return Absent
	case len(s.Data) > 0:
		return Made
	}
	return State(s.Annotations[stateAnnotation])
}

// Keeper reads and writes the Secrets.
type Keeper struct {
	// Client reads and writes without a cache.
	Client client.Client
}

// Check tells whether the request may be sent, without writing anything: nil, or one
// of the errors above, or the API server's.
func (k *Keeper) Check(ctx context.Context, p Place) error {
	_, err := k.claimable(ctx, p)
	return err
}

// Begin writes down that the request is about to be sent. Only one of several who begin
// at the same time succeeds. An error is one of those above, or the API server's:
// nothing may be sent then.
func (k *Keeper) Begin(ctx context.Context, p Place) error {
	have, err := k.claimable(ctx, p)
	if err != nil {
		return err
	}
	if have == nil {
		err = k.Client.Create(ctx, p.secret(Begun, nil))
	} else {
		have.Annotations = merged(have.Annotations, p.annotations(Begun))
		err = k.Client.Update(ctx, have)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return ErrUnknownOutcome // another one was faster; the next look tells more
	}
	if err != nil {
		return fmt.Errorf("writing Secret %s: %w", p.Secret, err)
	}
	return nil
}

func (k *Keeper) claimable(ctx context.Context, p Place) (*corev1.Secret, error) {
	have, err := k.read(ctx, p)
	if err != nil || have == nil {
		return nil, err
	}
	state := StateOf(have)
	mine := have.Labels[v1alpha1.CredentialsForLabel] == p.CredentialsFor
	switch {
	case mine && state == Made:
		return nil, ErrMade
	case !mine, state == Absent, have.Annotations[madeForAnnotation] != p.Owner:
		return nil, ErrForeign
	case state == Refused:
		return have, nil
	case p.Confirmed != "" && have.Annotations[confirmedAnnotation] != p.Confirmed:
		return have, nil
	}
	return nil, ErrUnknownOutcome
}

// Refused writes down that no credentials were made, so that it may be tried again.
func (k *Keeper) Refused(ctx context.Context, p Place) error {
	have, err := k.read(ctx, p)
	if err != nil {
		return err
	}
	if have == nil || StateOf(have) != Begun {
		return nil
	}
	have.Annotations = merged(have.Annotations, map[string]string{stateAnnotation: string(Refused)})
	if err := k.Client.Update(ctx, have); err != nil {
		return fmt.Errorf("writing Secret %s: %w", p.Secret, err)
	}
	return nil
}

// Store writes the credentials. It may be repeated until it succeeds, and replaces
// nothing but the record that Begin left.
func (k *Keeper) Store(ctx context.Context, p Place, made provider.Credentials) error {
	have, err := k.read(ctx, p)
	if err != nil {
		return err
	}
	if have == nil {
		err = k.Client.Create(ctx, p.secret(Made, made))
	} else {
		if have.Labels[v1alpha1.CredentialsForLabel] != p.CredentialsFor || StateOf(have) == Made && !same(have, made) {
			return ErrForeign
		}
		want := p.secret(Made, made)
		have.Data, have.Annotations = want.Data, merged(have.Annotations, want.Annotations)
		err = k.Client.Update(ctx, have)
	}
	if err != nil {
		return fmt.Errorf("writing Secret %s: the API server answered %s", p.Secret, answered(err))
	}
	return nil
}

// answered is what the API server said without its message: an admission webhook may
// quote the object in it, and with that the credentials.
func answered(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return "nothing"
	}
	return fmt.Sprintf("%d %s", status.Status().Code, apierrors.ReasonForError(err))
}

func same(have *corev1.Secret, made provider.Credentials) bool {
	for name, value := range made {
		if string(have.Data[name]) != value.Reveal() {
			return false
		}
	}
	return true
}

func (k *Keeper) read(ctx context.Context, p Place) (*corev1.Secret, error) {
	var s corev1.Secret
	err := k.Client.Get(ctx, p.Secret, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", p.Secret, err)
	}
	return &s, nil
}

// Manifest is the Secret that holds the credentials, to be applied or sealed: under
// their own names, and bound to their provider.
func Manifest(p Place, made provider.Credentials) *corev1.Secret {
	s := p.secret(Made, made)
	s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}
	return s
}

// secret has no owner reference: it outlives the ProviderToken, since the credentials
// cannot be had again.
func (p Place) secret(state State, made provider.Credentials) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.Secret.Namespace, Name: p.Secret.Name,
			Labels:      map[string]string{v1alpha1.CredentialsForLabel: p.CredentialsFor},
			Annotations: p.annotations(state),
		},
		Type: corev1.SecretTypeOpaque,
	}
	if len(made) > 0 {
		s.Data = map[string][]byte{}
	}
	for name, value := range made {
		s.Data[name] = []byte(value.Reveal())
	}
	return s
}

func (p Place) annotations(state State) map[string]string {
	all := map[string]string{
		stateAnnotation:                 string(state),
		madeForAnnotation:               p.Owner,
		v1alpha1.AllowedHostsAnnotation: p.AllowedHosts,
		confirmedAnnotation:             p.Confirmed,
	}
	for name, value := range all {
		if value == "" {
			delete(all, name)
		}
	}
	return all
}

func merged(base, over map[string]string) map[string]string {
	all := maps.Clone(base)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, over)
	return all
}
