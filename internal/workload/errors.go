package workload

// Kind is what a refusal means for who waits for a token.
type Kind string

const (
	// Unwilling: there is no such ServiceAccount, or it does not consent. Which of the
	// two is not told, so that nobody can probe; it may get better any moment.
	Unwilling Kind = "Unwilling"
	// Refused: what is asked for is never given; only an edit helps.
	Refused Kind = "Refused"
	// Forbidden: the cluster does not let the operator do it; who runs it can help.
	Forbidden Kind = "Forbidden"
	// Unavailable: the API server did not answer, or not with a token; another try may help.
	Unavailable Kind = "Unavailable"
)

// Error is why there is no token. Its text names objects and annotations and says
// what to do; it holds nothing of a token.
type Error struct {
	Kind Kind
	// Message is one sentence without a final stop.
	Message string
	// Cause is for the log; nil when there is nothing more to say.
	Cause error
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }
