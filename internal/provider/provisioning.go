package provider

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/providertoken/operator/internal/token"
)

// Provisioning is a provisioning step with every choice made.
type Provisioning struct {
	// Login is the way in whose token authorises the step.
	Login Resolved
	// Method is the way in that the new credentials are for.
	Method string
	// URL gets the request.
	URL string

	step ProvisioningStep
}

// Provision makes every choice that the definition's provisioning step leaves open, as
// Resolve does for a token; has tells which credentials of the login are there. The
// error is an *Error of kind Input: a definition without such a step, an unknown
// parameter, or missing credentials.
func (d Definition) Provision(parameters map[string]string, has func(canonical string) bool) (Provisioning, error) {
	if d.Provisioning == nil {
		return Provisioning{}, inputf("remove provision, and put the credentials into the Secret yourself",
			"this provider makes no credentials for others")
	}
	step := *d.Provisioning
	login := maps.Clone(parameters)
	if login == nil {
		login = map[string]string{}
	}
	if method, ok := parameters[methodParameter]; ok && method != step.To {
		return Provisioning{}, inputf("remove the parameter method, or set it to "+step.To,
			"credentials are made for the method %s only", step.To)
	}
	login[methodParameter] = step.From
	resolved, err := d.Resolve(login, has)
	if err != nil {
		return Provisioning{}, err
	}
	to, err := d.WithMethod(step.To)
	if err != nil {
		return Provisioning{}, err
	}
	// The step may have use for parameters that no way in has.
	own := to.parameterNames()
	for _, p := range d.Parameters {
		if !slices.Contains(own, p.Name) {
			to.Parameters = append(to.Parameters, p)
		}
	}
	to = to.withoutIdleParameters(Definition{TokenURL: step.URL}.holes())
	values, err := to.parameterValues(withoutMethod(parameters))
	if err != nil {
		return Provisioning{}, err
	}
	p := Provisioning{Login: resolved, Method: step.To, URL: fill(step.URL, values), step: step}
	return p, checkTokenURL(p.URL)
}

func withoutMethod(parameters map[string]string) map[string]string {
	rest := maps.Clone(parameters)
	delete(rest, methodParameter)
	return rest
}

// Host is where the step's request goes, as Resolved.Host says it of a token's.
func (p Provisioning) Host() string {
	return Resolved{Definition: Definition{TokenURL: p.URL}}.Host()
}

// NewRequest builds the one request that makes the credentials. It must not be sent
// twice: see ProvisioningStep.
func (p Provisioning) NewRequest(access token.Secret) (Request, error) {
	if !isToken(access.Reveal()) {
		return Request{}, inputf("", "the provisioning step needs an access token")
	}
	header := http.Header{"Accept": {"application/json"}, "Authorization": {"Bearer " + access.Reveal()}}
	for name, value := range p.step.Headers {
		header.Set(name, value)
	}
	request := Request{Method: p.step.method(), URL: p.URL, Header: header, Grant: ClientCredentials}
	if len(p.step.JSON) > 0 {
		body, err := json.Marshal(p.step.JSON)
		if err != nil {
			return Request{}, inputf("write plain JSON", "provisioning.json cannot be sent")
		}
		header.Set("Content-Type", "application/json")
		request.Body = token.NewSecret(string(body))
	}
	return request, nil
}

// Decode reads the new credentials out of an answer. An *Error with SentMaybe set means
// that the provider may have made some which nobody knows now: everything but a
// refusal (HTTP 4xx), after which there are none.
func (p Provisioning) Decode(a Answer) (Credentials, error) {
	if a.Status < 200 || a.Status > 299 {
		return nil, p.refusal(a)
	}
	document, ok := parseObject(a.Body)
	if !ok {
		return nil, p.lost(a, "the answer is not a JSON object")
	}
	made := Credentials{}
	for _, name := range slices.Sorted(maps.Keys(p.step.Credentials)) {
		value := firstString(document, p.step.Credentials[name])
		if value == "" || !isToken(value) {
			return nil, p.lost(a, "the answer holds no usable "+name)
		}
		made[name] = token.NewSecret(value)
	}
	return made, nil
}

func (p Provisioning) refusal(a Answer) *Error {
	e := &Error{Kind: Unavailable, Status: a.Status, RetryAfter: retryAfter(a), SentMaybe: true}
	e.Problem = "the provider failed while it made credentials" + because(e)
	switch {
	case a.Status == http.StatusTooManyRequests:
		e.Kind, e.SentMaybe = Throttled, false
		e.Problem = "the provider asks for a pause before it makes credentials"
	case a.Status >= 300 && a.Status <= 399, wrongEndpoint(a.Status):
		e.Kind, e.SentMaybe = Misconfigured, false
		e.Problem = "the provider's endpoint for new credentials does not take this request" + because(e)
		e.Fix = "check whether the provider changed, and report it"
	case a.Status >= 400 && a.Status <= 499 && a.Status != http.StatusRequestTimeout:
		e.Kind, e.SentMaybe = Denied, false
		e.Problem = "the provider refused to make credentials for this account" + because(e)
		e.Fix = "check that the account may have API credentials, and how many it has already"
	}
	return e
}

func (p Provisioning) lost(a Answer, problem string) *Error {
	return &Error{Kind: Unavailable, Status: a.Status, SentMaybe: true, Problem: problem,
		Fix: "look at the provider's list of credentials for one that nobody uses"}
}

func (s ProvisioningStep) method() string {
	if s.Method == "" {
		return http.MethodPost
	}
	return s.Method
}

// String names the step for people.
func (p Provisioning) String() string {
	u, err := url.Parse(p.URL)
	if err != nil {
		return p.Method
	}
	return fmt.Sprintf("%s at %s", p.Method, strings.ToLower(u.Host))
}
