package trial

import "time"

// Report is what a trial tells. No text in it holds a secret.
type Report struct {
	ProviderToken string       `json:"providerToken"`
	Provider      Provider     `json:"provider"`
	Credentials   []Credential `json:"credentials"`
	Request       Request      `json:"request"`
	Answer        *Answer      `json:"answer,omitempty"`
	Reading       []ReadField  `json:"reading,omitempty"`
	Decision      *Decision    `json:"decision,omitempty"`
	Refresh       *RefreshPlan `json:"refresh,omitempty"`
	Notes         []string     `json:"notes,omitempty"`
}

// Provider is who is asked.
type Provider struct {
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// Method is the way in, where there are several.
	Method               string `json:"method,omitempty"`
	Grant                string `json:"grant"`
	ClientAuthentication string `json:"clientAuthentication"`
	Host                 string `json:"host"`
	// Trust says who stands for the host.
	Trust string `json:"trust"`
}

// Credential is one that is used, without its value.
type Credential struct {
	Name string `json:"name"`
	// From is where it was found.
	From string `json:"from"`
	// Shape is what it looks like, such as "24 characters".
	Shape string `json:"shape"`
}

// Request is what is sent.
type Request struct {
	Method  string  `json:"method"`
	URL     string  `json:"url"`
	Headers []Field `json:"headers"`
	// Body are its fields, in their order; empty for none.
	Body []Field `json:"body,omitempty"`
	// Certificate tells that the client shows one.
	Certificate bool `json:"certificate,omitempty"`
}

// Field is a name with a value that is fit to be shown.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Answer is what came back.
type Answer struct {
	Status  int     `json:"status"`
	Took    string  `json:"took"`
	Headers []Field `json:"headers,omitempty"`
	// Body are its members; Text is the beginning of a body that has none.
	Body []Field `json:"body,omitempty"`
	Text string  `json:"text,omitempty"`
}

// ReadField says where something was found in the answer.
type ReadField struct {
	What string `json:"what"`
	// Pointer is the JSON pointer that found it; empty when it was not in the answer.
	Pointer string `json:"pointer,omitempty"`
	Says    string `json:"says"`
}

// Decision is what the operator makes of it.
type Decision struct {
	Success bool `json:"success"`
	// Kind of the failure, its reason in conditions, and the registered error code.
	Kind   string `json:"kind,omitempty"`
	Reason string `json:"reason,omitempty"`
	Code   string `json:"code,omitempty"`
	// Message is the operator's.
	Message string `json:"message"`
	// Next is what the operator would do now.
	Next string `json:"next"`
	// RetryAt is when it would try again; nil when only an edit helps.
	RetryAt *time.Time `json:"retryAt,omitempty"`
}

// RefreshPlan is when the token would be replaced, and why then.
type RefreshPlan struct {
	IssuedAt  time.Time `json:"issuedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	RefreshAt time.Time `json:"refreshAt"`
	Lifetime  string    `json:"lifetime"`
	// Source of the expiry: ExpiresIn, ExpiresAt, JWT or Configured.
	Source string `json:"source"`
	// Earliest and Latest are between what the jitter chooses.
	Earliest time.Time `json:"earliest"`
	Latest   time.Time `json:"latest"`
	Why      string    `json:"why"`
	Warning  string    `json:"warning,omitempty"`
}
