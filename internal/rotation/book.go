package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// rounds is how often a state is looked at again when somebody else wrote it meanwhile.
const rounds = 4

// maxUnsent bounds the intents that are remembered as not followed by a use.
const maxUnsent = 16

// settleInterval is the pause between two rounds of SettleAll, real time.
const settleInterval = 500 * time.Millisecond

// apiPatience bounds the requests to the API server of one step.
const apiPatience = 30 * time.Second

// Want is the wish to use a refresh token.
type Want struct {
	// Owner is the ProviderToken.
	Owner types.NamespacedName
	// Secret and Key say where the user put the refresh token, and Token is what is there.
	Secret, Key string
	Token       token.Secret
	// Used is true when a token was issued for the same ask before, so that a state
	// that knows of no use is not to be believed.
	Used bool
	// ReplayFrom is the earliest instant at which a token may be used once more whose
	// last use had an unknown outcome; zero for now.
	ReplayFrom time.Time
	// Confirmation permits what Doubtful, Lost and Refused forbid, once for each of its values.
	Confirmation string
	// Patience bounds the exchange.
	Patience time.Duration
}

// State names the state Secret.
func (w Want) State() types.NamespacedName {
	return types.NamespacedName{Namespace: w.Owner.Namespace, Name: StateName(w.Secret, w.Key)}
}

func (w Want) seed() string { return digest([]byte(w.Token.Reveal())) }

// Book keeps the states. All methods are safe for concurrent use.
type Book struct {
	// Client reads and writes without a cache.
	Client client.Client
	// Now is the clock.
	Now func() time.Time

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
}

// entry is what this process knows of one state.
type entry struct {
	turn chan struct{} // holds one value while nobody reads or writes the state
	used time.Time     // when it was asked for last; the Book's lock guards it
	// last is the state as this process read or wrote it last; nil when that is not known.
	last *state
	// flying is the use that has not ended.
	flying *Use
	// overwritten is what this process wrote last, when an update of it met another version.
	overwritten *state
	// unsent are IDs of intents that may have been written, and were certainly not followed by a use.
	unsent []string
	// owed is what is still to be written about a use that has ended.
	owed *debt
}

// debt is what is to be written about a use, for as long as its intent is the one in the state.
type debt struct {
	use   *Use
	apply func(*state)
	// base is the state as of the intent, in case somebody deletes the Secret.
	base *state
}

// Begin takes the right to send the refresh token once: the intent is written down
// when it returns a Use, of which exactly one of the methods that end it must be
// called. Instead of a Use there is a Hold when the token must not be used, or an
// error, which is the API server's: nothing may be sent then.
//
// In the steady state it makes one write and no read.
func (b *Book) Begin(ctx context.Context, w Want) (*Use, *Hold, error) {
	if len(w.Token.Reveal()) > maxToken {
		return nil, w.hold(TooLarge, time.Time{}), nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	e := b.entry(w.State())
	if err := e.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer e.leave()
	if f := e.flying; f != nil {
		return nil, w.hold(Unknown, f.until.Add(settling)), nil
	}
	if err := b.settle(ctx, e); err != nil {
		return nil, nil, err
	}
	for range rounds {
		use, hold, err := b.try(ctx, e, w)
		if !errors.Is(err, errAgain) {
			return use, hold, err
		}
	}
	return nil, nil, fmt.Errorf("state Secret %s changes all the time", w.State())
}

// errAgain means to look at the state again, live.
var errAgain = errors.New("somebody else wrote the state meanwhile")

func (b *Book) try(ctx context.Context, e *entry, w Want) (*Use, *Hold, error) {
	live := e.last == nil
	st, err := b.load(ctx, e, w)
	if err != nil {
		return nil, nil, err
	}
	if hold, err := b.claim(ctx, st, w); hold != nil || err != nil {
		e.last = nil
		return nil, hold, err
	}
	id := uuid.NewString()
	next, hold := st.next(w, b.Now(), id, e.unsent)
	if hold != nil && !live {
		e.last = nil // what is remembered may be old
		return nil, nil, errAgain
	}
	if next == nil {
		return nil, hold, nil
	}
	if hold == nil {
		e.unsent = append(e.unsent[max(0, len(e.unsent)-maxUnsent):], id)
	}
	if err := b.save(ctx, e, next, w.Owner.String()); err != nil || hold != nil {
		return nil, hold, err
	}
	e.unsent = nil
	in := next.record.Intent
	use := &Use{book: b, entry: e, owner: w.Owner.String(), id: id, until: in.Until, Token: next.current, Replay: in.Replays > 0}
	e.flying = use
	return use, nil, nil
}

// load returns the state, from memory if this process knows it, and makes one where there is none.
func (b *Book) load(ctx context.Context, e *entry, w Want) (*state, error) {
	if e.last != nil {
		return e.last, nil
	}
	st, err := b.read(ctx, w.State())
	if err != nil || st != nil {
		e.last = st.unless(e.overwritten)
		e.overwritten = nil
		return e.last, err
	}
	// Create-only: of two claimants one comes second.
	fresh := begin(w)
	return b.create(ctx, e, &fresh, w.Owner.String())
}

// unless is st, or what known said when st is an earlier version of it: the cluster was
// put back to a former state, whose refresh token was used up since.
func (st *state) unless(known *state) *state {
	if st == nil || known == nil || st.object.UID != known.object.UID {
		return st
	}
	if order, err := resourceversion.CompareResourceVersion(st.object.ResourceVersion, known.object.ResourceVersion); err != nil || order >= 0 {
		return st
	}
	newest := known.clone()
	newest.object = st.object
	return newest
}

func (b *Book) read(ctx context.Context, name types.NamespacedName) (*state, error) {
	var s corev1.Secret
	err := b.Client.Get(ctx, name, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, bare("reading", name.Name, err)
	}
	st := parse(&s)
	return &st, nil
}

func (b *Book) create(ctx context.Context, e *entry, st *state, owner string) (*state, error) {
	st.object.ResourceVersion, st.object.UID = "", ""
	s, err := st.encode(owner)
	if err != nil {
		return nil, err
	}
	err = b.Client.Create(ctx, s)
	if apierrors.IsAlreadyExists(err) {
		return nil, errAgain
	}
	if err != nil {
		return nil, bare("creating", s.Name, err)
	}
	st.object = s
	st.record.UID = "" // encoded without one
	e.last = st
	return st, nil
}

// save replaces the state by compare-and-swap on its resourceVersion.
func (b *Book) save(ctx context.Context, e *entry, st *state, owner string) error {
	s, err := st.encode(owner)
	if err != nil {
		return err
	}
	known := e.last
	e.last = nil // until it is known to be written
	err = b.Client.Update(ctx, s)
	switch {
	case apierrors.IsNotFound(err) && known != nil:
		return b.recall(ctx, e, known, owner)
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		e.overwritten = known
		return errAgain
	}
	if err != nil {
		return bare("writing", s.Name, err)
	}
	st.object, st.record.UID = s, s.UID
	e.last = st
	return nil
}

// recall makes a Secret anew that somebody deleted, from what this process wrote last.
func (b *Book) recall(ctx context.Context, e *entry, known *state, owner string) error {
	st, err := b.create(ctx, e, known.clone(), owner)
	if err != nil {
		return err
	}
	st.record.UID = st.object.UID
	return errAgain
}

// claim tells whether the state may be written on behalf of w: it is ours, or its
// owner is gone or uses another credential by now.
func (b *Book) claim(ctx context.Context, st *state, w Want) (*Hold, error) {
	if st.object.Labels[StateLabel] != StateValue {
		return w.hold(Foreign, time.Time{}), nil
	}
	owner := st.object.Annotations[ClaimAnnotation]
	namespace, name, _ := strings.Cut(owner, "/")
	if owner == w.Owner.String() || namespace != w.Owner.Namespace || name == "" {
		return nil, nil
	}
	var other v1alpha1.ProviderToken
	err := b.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &other)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, bare("asking whether there is still an owner of", st.object.Name, err)
	}
	if !slices.Contains(other.CredentialSecrets(), w.Secret) {
		return nil, nil
	}
	hold := w.hold(InUse, time.Time{})
	hold.Owner = name
	return hold, nil
}

// Settle writes what is still owed to a state, such as a new refresh token that
// could not be stored when it came. Nil when there is nothing.
func (b *Book) Settle(ctx context.Context, name types.NamespacedName) error {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	e := b.entry(name)
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	return b.settle(ctx, e)
}

// SettleAll returns when no use is under way and nothing is owed any more: nil; or ctx's
// error. It writes by compare-and-swap on the intent of each use, so a process may call
// it that no longer leads.
func (b *Book) SettleAll(ctx context.Context) error {
	left := 0
	err := wait.PollUntilContextCancel(ctx, settleInterval, true, func(ctx context.Context) (bool, error) {
		open := b.open()
		for _, name := range open {
			_ = b.Settle(ctx, name) // the next round tells
		}
		left = len(open)
		return left == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%d refresh tokens are not stored: %w", left, err)
	}
	return nil
}

// open names the states of which a use is under way or something is owed. One that
// somebody works on right now counts.
func (b *Book) open() []types.NamespacedName {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []types.NamespacedName
	for name, e := range b.entries {
		select {
		case <-e.turn:
			if e.flying != nil || e.owed != nil {
				names = append(names, name)
			}
			e.turn <- struct{}{}
		default:
			names = append(names, name)
		}
	}
	return names
}

func (b *Book) settle(ctx context.Context, e *entry) error {
	for range rounds {
		if e.owed == nil {
			return nil
		}
		if err := b.pay(ctx, e); err != nil && !errors.Is(err, errAgain) {
			return err
		}
	}
	if e.owed != nil {
		return errors.New("the state Secret changes all the time")
	}
	return nil
}

// pay makes one attempt at writing what is owed. Where the state moved on to another
// intent or another authorization, nothing is owed any more.
func (b *Book) pay(ctx context.Context, e *entry) error {
	owed := e.owed
	st := e.last
	if st == nil {
		var err error
		if st, err = b.read(ctx, client.ObjectKeyFromObject(owed.base.object)); err != nil {
			return err
		}
	}
	if st == nil { // somebody deleted it; the intent is still the one of this use
		if _, err := b.create(ctx, e, owed.base.clone(), owed.use.owner); err != nil {
			return err
		}
		return errAgain
	}
	if in := st.record.Intent; in == nil || in.ID != owed.use.id || st.object.Labels[StateLabel] != StateValue {
		e.owed = nil
		return nil
	}
	next := st.clone()
	next.record.Intent = nil
	owed.apply(next)
	if err := b.save(ctx, e, next, owed.use.owner); err != nil {
		return err
	}
	e.owed = nil
	return nil
}

// entry of a state; made when it is first asked for.
func (b *Book) entry(name types.NamespacedName) *entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.entries == nil {
		b.entries = map[types.NamespacedName]*entry{}
	}
	e := b.entries[name]
	if e == nil {
		e = &entry{turn: make(chan struct{}, 1)}
		e.turn <- struct{}{}
		b.entries[name] = e
	}
	e.used = b.Now()
	return e
}

// idle is how long what is known of a state is remembered that nobody asks for.
const idle = 24 * time.Hour

// Sweep forgets what is known of states that nobody asked for in a day and that nothing
// is under way with: their ProviderTokens are gone, or their next use costs one read.
func (b *Book) Sweep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, e := range b.entries {
		if b.Now().Sub(e.used) < idle {
			continue
		}
		select {
		case <-e.turn:
			if e.flying == nil && e.owed == nil && e.overwritten == nil && len(e.unsent) == 0 {
				delete(b.entries, name)
			}
			e.turn <- struct{}{}
		default:
		}
	}
}

func (e *entry) enter(ctx context.Context) error {
	select {
	case <-e.turn:
		return nil
	case <-ctx.Done():
		return errors.New("another step with the same state has not ended yet")
	}
}

func (e *entry) leave() { e.turn <- struct{}{} }
