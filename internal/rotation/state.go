package rotation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/internal/token"
)

// What marks a state Secret. The owner has an annotation of its own, not the one of
// targets, so that no state Secret can be taken for the target of its own ProviderToken.
const (
	// StateLabel marks the Secrets that hold the operator's own durable state.
	StateLabel = "providertoken.dev/state"
	// StateValue is the value of StateLabel on the Secrets of this package.
	StateValue = "rotation"
	// ClaimAnnotation is namespace/name of the ProviderToken that uses the refresh token.
	ClaimAnnotation = "providertoken.dev/claimed-by"

	// TokenKey holds the refresh token to use next.
	TokenKey = "refresh_token"
	// RecordKey holds what is known about it.
	RecordKey = "record"
)

const (
	recordVersion = 1
	suffix        = "-rotation"
	// maxName is the longest name of a Secret.
	maxName = 253
	// maxToken bounds a refresh token in bytes, as the decoder of answers does.
	maxToken = 32 << 10
	// maxSpent bounds the former authorizations that are remembered.
	maxSpent = 32
	// settling is added to the end of somebody else's exchange before the same token
	// may be used once more: clocks of two nodes differ.
	settling = 5 * time.Second
)

// StateName is the name of the state Secret for the refresh token under key of a
// credential Secret. Other keys have states of their own.
func StateName(secret, key string) string {
	end := suffix
	if key != TokenKey {
		end += "-" + digest([]byte(key))[:8]
	}
	if len(secret)+len(end) <= maxName {
		return secret + end
	}
	end = "-" + digest([]byte(secret))[:8] + end
	return secret[:maxName-len(end)] + end
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// record is what a state Secret says besides the token. It is written as JSON.
type record struct {
	Version int `json:"version"`
	// UID of the Secret itself: in a copy out of a backup it is another's. It is empty
	// until the first use.
	UID types.UID `json:"uid,omitempty"`
	// Seed is the SHA-256 of the credential that the chain of refresh tokens began
	// with: another one is a new authorization by a person.
	Seed string `json:"seed"`
	// Spent are former seeds: one that comes back, as by a GitOps tool that reverts an
	// edit, is no new authorization.
	Spent []string `json:"spent,omitempty"`
	// ExpiresAt is when the token stops working, where the provider told it.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// Intent is there from before the token is sent until its outcome is stored.
	Intent *intent `json:"intent,omitempty"`
	// RefusedAt is set when the provider refused the token.
	RefusedAt *time.Time `json:"refusedAt,omitempty"`
	// Doubtful is true when the token may have been used by somebody who did not say so here.
	Doubtful bool `json:"doubtful,omitempty"`
	// Seen is the value of the confirmation as of the last write.
	Seen string `json:"confirmation,omitempty"`
}

// intent to use the token once.
type intent struct {
	ID string `json:"id"`
	// OpenedAt is when it was written, Until when its exchange is over in any case.
	OpenedAt time.Time `json:"openedAt"`
	Until    time.Time `json:"until"`
	// Replays counts the uses of the same token before this one.
	Replays int `json:"replays"`
}

// over is the instant from which on nobody can still be using the token.
func (i *intent) over() time.Time { return i.Until.Add(settling) }

// state is a state Secret that was read or written.
type state struct {
	object  *corev1.Secret
	current token.Secret
	record  record
	// unreadable is true when somebody spoilt the record.
	unreadable bool
}

// parse reads a Secret that has the label.
func parse(s *corev1.Secret) state {
	st := state{object: s, current: token.NewSecret(string(s.Data[TokenKey]))}
	err := json.Unmarshal(s.Data[RecordKey], &st.record)
	if err != nil || st.record.Version != recordVersion || st.record.Seed == "" {
		st.record, st.unreadable = record{Version: recordVersion}, true
	}
	return st
}

// encode is the Secret that says st, as claimed by owner. What others wrote into
// the metadata stays.
func (st state) encode(owner string) (*corev1.Secret, error) {
	s := st.object.DeepCopy()
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Labels[StateLabel] = StateValue
	s.Labels["app.kubernetes.io/part-of"] = "providertoken"
	s.Annotations[ClaimAnnotation] = owner
	rec := st.record
	rec.UID = s.UID
	data, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	s.Data = map[string][]byte{RecordKey: data}
	if !st.current.IsZero() {
		s.Data[TokenKey] = []byte(st.current.Reveal())
	}
	return s, nil
}

// begin is the state of a refresh token that was never used, or of which that is not known.
func begin(w Want) state {
	name := w.State()
	return state{
		object: &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
			Type:       corev1.SecretTypeOpaque,
		},
		record: record{Version: recordVersion, Seed: w.seed(), Seen: w.Confirmation, Doubtful: w.Used},
	}
}

// next decides what may be done now. Exactly one of three things comes back: a
// state with a new intent, to be written before the token is sent; a Hold; or both a
// Hold and the state that makes it durable.
func (st state) next(w Want, now time.Time, id string, unsent []string) (*state, *Hold) {
	if doubt := st.doubt(w); doubt != nil {
		return doubt, w.hold(Doubtful, time.Time{})
	}
	n := st.clone()
	n.authorize(w)
	confirmed := w.Confirmation != "" && w.Confirmation != n.record.Seen
	replays := 0
	switch in := n.record.Intent; {
	case n.record.Doubtful && !confirmed:
		return nil, w.hold(Doubtful, time.Time{})
	case n.record.RefusedAt != nil:
		if !confirmed {
			return nil, w.hold(Refused, *n.record.RefusedAt)
		}
		replays = 1
	case in != nil && slices.Contains(unsent, in.ID):
		replays = in.Replays
	case in != nil:
		if hold := in.wait(w, now, confirmed); hold != nil {
			return nil, hold
		}
		replays = in.Replays + 1
	}
	if n.current.IsZero() {
		n.current = w.Token
	}
	n.record.Doubtful, n.record.RefusedAt, n.record.Seen = false, nil, w.Confirmation
	n.record.Intent = &intent{ID: id, OpenedAt: now.UTC(), Until: now.Add(w.Patience).UTC(), Replays: replays}
	return n, nil
}

// wait says why the token of an open intent must not be used yet, or no more.
func (i *intent) wait(w Want, now time.Time, confirmed bool) *Hold {
	at := i.over()
	if i.Replays == 0 && !confirmed && w.ReplayFrom.After(at) {
		at = w.ReplayFrom
	}
	switch {
	case now.Before(at):
		return w.hold(Unknown, at)
	case i.Replays > 0 && !confirmed:
		return w.hold(Lost, i.OpenedAt)
	}
	return nil
}

// doubt is the state that says that the token may have been used by somebody who
// did not write it down here; nil when there is no reason to think so, or when that
// is written already. From then on only a change by a person counts.
func (st state) doubt(w Want) *state {
	restored := st.record.UID != "" && st.record.UID != st.object.UID
	unused := st.record.UID == "" && w.Used && !st.record.Doubtful
	if !st.unreadable && !restored && !unused {
		return nil
	}
	n := st.clone()
	if n.record.Seed != "" && n.record.Seed != w.seed() && !slices.Contains(n.record.Spent, w.seed()) {
		n.current = token.Secret{} // the credential is newer than this copy
		n.spend()
	}
	if n.record.Seed == "" || n.current.IsZero() {
		n.record.Seed = w.seed()
	}
	n.record.Intent, n.record.RefusedAt = nil, nil
	n.record.Doubtful, n.record.Seen = true, w.Confirmation
	return n
}

// authorize starts anew where a person put another refresh token into the credential Secret.
func (st *state) authorize(w Want) {
	seed := w.seed()
	if seed == st.record.Seed || slices.Contains(st.record.Spent, seed) {
		return
	}
	st.spend()
	st.record.Seed = seed
	if st.current == w.Token {
		return // the one that is in use already, written back
	}
	st.current = w.Token
	st.record.Intent, st.record.RefusedAt, st.record.ExpiresAt, st.record.Doubtful = nil, nil, nil, false
}

// spend remembers the seed as a former one.
func (st *state) spend() {
	st.record.Spent = append(st.record.Spent, st.record.Seed)
	if n := len(st.record.Spent); n > maxSpent {
		st.record.Spent = st.record.Spent[n-maxSpent:]
	}
}

func (st state) clone() *state {
	st.object = st.object.DeepCopy()
	st.record.Spent = slices.Clone(st.record.Spent)
	st.unreadable = false
	return &st
}
