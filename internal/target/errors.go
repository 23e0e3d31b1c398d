package target

import "fmt"

// Reason says what stands between a token and its Secret. It is decided where
// the error is born and interpreted in one place, by the controller.
type Reason string

const (
	// Foreign: the Secret belongs to somebody else and is not touched.
	Foreign Reason = "Foreign"
	// Immutable: the Secret is marked immutable.
	Immutable Reason = "Immutable"
	// TypeMismatch: the Secret is of another type, and types cannot be changed.
	TypeMismatch Reason = "TypeMismatch"
	// TooLarge: more than a Secret, one of its keys or its annotations may hold.
	TooLarge Reason = "TooLarge"
	// InvalidTemplate: the format or template in spec.target cannot be rendered.
	InvalidTemplate Reason = "InvalidTemplate"
	// InvalidToken: what should be published is not a whole token; another one is needed.
	InvalidToken Reason = "InvalidToken"
	// Conflict: the Secret is not what was observed; read it live and decide again.
	Conflict Reason = "Conflict"
	// Refused: the API server will not have it (permission, quota, admission, a
	// namespace that goes away); only an edit somewhere helps.
	Refused Reason = "Refused"
	// Unavailable: the API server could not answer, or whether it wrote is not known.
	Unavailable Reason = "Unavailable"
)

// Error is a target that could not be rendered, read or written. Its text is
// our own: it holds nothing out of a Secret and nothing that the API server sent.
type Error struct {
	Reason Reason
	// Problem is one sentence without a final stop: what is wrong.
	Problem string
	// Fix is one sentence without a final stop: what to do about it; may be empty.
	Fix string
	// Err tells programs more about Refused, Conflict and Unavailable: a status
	// error without the API server's message, a context's error or a transport
	// error. It may be nil.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	if e.Fix == "" {
		return e.Problem
	}
	return e.Problem + "; " + e.Fix
}

// StatusCode is the HTTP status of the API server's refusal; 0 when there was no answer.
func (e *Error) StatusCode() int { return statusCode(e.Err) }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// invalidTemplate says what is wrong in spec.target and how it is put right.
func invalidTemplate(fix, problem string, args ...any) error {
	return &Error{Reason: InvalidTemplate, Problem: fmt.Sprintf(problem, args...), Fix: fix}
}
