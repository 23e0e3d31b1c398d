package providersim

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The names of further simulated providers, all of them the catalog's own.
const (
	GitHubAppName            = "GitHubApp"
	GoogleServiceAccountName = "GoogleServiceAccount"
	PayPalName               = "PayPal"
	SalesforceName           = "Salesforce"
	ZoomName                 = "Zoom"
)

// Kinds of request that these providers know, by their names on the wire.
const (
	// KindJWTBearer is RFC 7523 §2.1.
	KindJWTBearer Kind = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	// KindAccountCredentials is Zoom's own grant.
	KindAccountCredentials Kind = "account_credentials"
	// KindInstallation asks GitHub for an installation's token, which is no OAuth grant.
	KindInstallation Kind = "installation"
)

// fleetB is the part of a Simulator that is about vendors' APIs.
type fleetB struct {
	GitHubApp            *GitHubApp
	GoogleServiceAccount *GoogleServiceAccount
	PayPal               *PayPal
	Salesforce           *Salesforce
	Zoom                 *Zoom
}

// member is one provider of the set.
type member struct {
	name     string
	lifetime time.Duration // the real provider's
	attach   func(*Host)
}

func (f *fleetB) members() []member {
	return []member{
		{GitHubAppName, time.Hour, func(h *Host) { f.GitHubApp = newGitHubApp(h) }},
		{GoogleServiceAccountName, time.Hour, func(h *Host) { f.GoogleServiceAccount = newGoogleServiceAccount(h) }},
		{PayPalName, payPalLifetime, func(h *Host) { f.PayPal = newPayPal(h) }},
		{SalesforceName, salesforceLifetime, func(h *Host) { f.Salesforce = newSalesforce(h) }},
		{ZoomName, time.Hour, func(h *Host) { f.Zoom = newZoom(h) }},
	}
}

func (f *fleetB) names() []string {
	var names []string
	for _, m := range f.members() {
		names = append(names, m.name)
	}
	return names
}

// kindByWire tells these providers' requests apart.
func kindByWire(r *http.Request, form url.Values) Kind {
	switch kind := Kind(form.Get("grant_type")); kind {
	case KindJWTBearer, KindAccountCredentials:
		return kind
	default:
		return kindOfGrant(r, form)
	}
}

// hasQuery tells whether the URL has a query, be it an empty one.
func (q request) hasQuery() bool { return q.URL.RawQuery != "" || q.URL.ForceQuery }

// exactly parses a form body that holds these fields once each, and no other.
func (q request) exactly(fields ...string) (url.Values, bool) {
	form, ok := q.form()
	if !ok || len(form) != len(fields) || !only(form, fields...) {
		return nil, false
	}
	return form, true
}

// bearer is the Bearer token in the one Authorization header; empty when there is none.
func (q request) bearer() string {
	scheme, value := q.authorization()
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return value
}
