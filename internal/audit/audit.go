// Package audit writes one line of JSON for each exchange with a provider: who was asked
// on whose behalf, with which credential, and what came of it. A line never holds a
// credential, a token, or anything that a provider said but its HTTP status.
//
// It must not import anything of Kubernetes nor of the operator.
package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// Log is where the lines go. A nil Log writes none. Its methods may be called from any
// goroutine.
type Log struct {
	mu  sync.Mutex
	out *json.Encoder
	// failed takes what goes wrong: an exchange that was made cannot be undone.
	failed func(error)
}

// New makes a Log that writes to out; failed is told of lines that could not be written.
func New(out io.Writer, failed func(error)) *Log {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return &Log{out: enc, failed: failed}
}

// Entry is one exchange.
type Entry struct {
	// Time at which the request was made.
	Time time.Time `json:"time"`
	// Object on whose behalf it was.
	Object Object `json:"object"`
	// Credentials that were used, as they were then.
	Credentials []Secret `json:"credentials"`
	// ServiceAccount whose token was a credential; empty when there was none.
	ServiceAccount string `json:"serviceAccount,omitempty"`
	// Provider is the kind and name of the definition, and Host where the request went.
	Provider string `json:"provider"`
	Host     string `json:"host"`
	// Grant of the request, as in the definition, or Provisioning.
	Grant string `json:"grant"`
	// Scopes and Audience that were asked for by the ProviderToken.
	Scopes   []string `json:"scopes,omitempty"`
	Audience string   `json:"audience,omitempty"`
	// Outcome is success or failure.
	Outcome string `json:"outcome"`
	// Failure is its kind, and Status that of the answer; zero when there was none.
	Failure string `json:"failure,omitempty"`
	Status  int    `json:"status,omitempty"`
	// ExpiresAt of the token that was issued.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// Seconds that it took.
	Seconds float64 `json:"durationSeconds"`
}

// Object names a ProviderToken.
type Object struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// Secret names one state of a Secret.
type Secret struct {
	Namespace       string `json:"namespace"`
	Name            string `json:"name"`
	ResourceVersion string `json:"resourceVersion"`
}

// Outcomes of an exchange.
const (
	Success = "success"
	Failure = "failure"
)

// line is what is written; log tells it from other lines of the same stream.
type line struct {
	Log string `json:"log"`
	Entry
}

// Write writes one line.
func (l *Log) Write(e Entry) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Credentials == nil {
		e.Credentials = []Secret{}
	}
	e.Time = e.Time.UTC()
	if err := l.out.Encode(line{Log: "audit", Entry: e}); err != nil && l.failed != nil {
		l.failed(fmt.Errorf("writing a line of the audit log: %w", err))
	}
}
