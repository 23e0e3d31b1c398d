package workload

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// claims of a ServiceAccount's token that matter here.
type claims struct {
	Issuer     string    `json:"iss"`
	Subject    string    `json:"sub"`
	Audience   audiences `json:"aud"`
	Kubernetes struct {
		ServiceAccount struct {
			UID string `json:"uid"`
		} `json:"serviceaccount"`
	} `json:"kubernetes.io"`
}

// audiences is one or several (RFC 7519 section 4.1.3).
type audiences []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audiences) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*a = audiences{one}
		return nil
	}
	var several []string
	if err := json.Unmarshal(data, &several); err != nil {
		return err
	}
	*a = several
	return nil
}

// parse reads the claims of a JWT that the API server just issued, or that the
// operator itself is known by. It checks no signature: who verifies that is whoever gets it.
func parse(jwt string) (claims, bool) {
	var c claims
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return c, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, false
	}
	return c, json.Unmarshal(payload, &c) == nil
}

// wellKnown tells whether audience is one that API servers are commonly known by:
// the name of their Service, however it is written.
func wellKnown(audience string) bool {
	scheme, host, found := strings.Cut(audience, "://")
	switch {
	case !found:
		host = audience
	case scheme != "https" && scheme != "http":
		return false // such as Entra's
	}
	host, _, _ = strings.Cut(host, "/")
	host, _, _ = strings.Cut(host, ":")
	host = strings.TrimSuffix(host, ".")
	return slices.Contains([]string{"api", "apiserver", "kube-apiserver", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}, host) ||
		strings.HasPrefix(host, "kubernetes.default.svc.")
}

// same is how audiences are compared to those of the API server: more loosely than
// the API server does, since there is no reason to ask for a lookalike.
func same(audience string) string {
	return strings.TrimRight(strings.ToLower(strings.TrimSpace(audience)), "/")
}
