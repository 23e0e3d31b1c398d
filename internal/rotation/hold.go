package rotation

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Reason of a Hold.
type Reason string

const (
	// InUse: another ProviderToken uses the refresh token.
	InUse Reason = "InUse"
	// Foreign: a Secret of the state's name is not the operator's.
	Foreign Reason = "Foreign"
	// Doubtful: the state is a copy out of a backup, or is missing or unreadable
	// although the token was used before.
	Doubtful Reason = "Doubtful"
	// Unknown: the outcome of the last use is not known; Hold.At is when the token may be used once more.
	Unknown Reason = "Unknown"
	// Lost: the outcome of the last use is not known, and there was no answer to its repetition either.
	Lost Reason = "Lost"
	// Refused: the provider refused the token.
	Refused Reason = "Refused"
	// TooLarge: what the credential Secret holds is no refresh token.
	TooLarge Reason = "TooLarge"
)

// Hold is why a refresh token must not be used now.
type Hold struct {
	Reason Reason
	// At is when it may be used (Unknown), or when it was last used (Lost, Refused).
	At time.Time
	// Secret and Key say where a person puts a new refresh token.
	Secret, Key string
	// State is the name of the state Secret.
	State string
	// Owner is the name of the ProviderToken that has the token in use.
	Owner string
}

func (w Want) hold(reason Reason, at time.Time) *Hold {
	return &Hold{Reason: reason, At: at, Secret: w.Secret, Key: w.Key, State: w.State().Name}
}

// writeError is an API server's error without its message, which may quote the object.
type writeError struct {
	verb, name string
	code       int
}

func (e *writeError) Error() string {
	what := "no answer"
	if e.code != 0 {
		what = fmt.Sprintf("%d %s", e.code, http.StatusText(e.code))
	}
	return fmt.Sprintf("%s state Secret %s: the API server gave %s", e.verb, e.name, what)
}

func bare(verb, name string, err error) error {
	var status apierrors.APIStatus
	e := &writeError{verb: verb, name: name}
	if errors.As(err, &status) {
		e.code = int(status.Status().Code)
	}
	return e
}
