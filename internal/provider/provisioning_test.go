package provider

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/providertoken/operator/internal/token"
)

func provisioner(change func(*Definition)) Definition {
	d := Definition{
		Methods: []Method{
			{Name: "App", Definition: Definition{TokenURL: "https://a.example.com/token", ClientAuthentication: SecretPost}},
			{Name: "Login", Definition: Definition{TokenURL: "https://a.example.com/login", Grant: Password, ClientAuthentication: None}},
		},
		Provisioning: &ProvisioningStep{
			From: "Login", To: "App", URL: "https://a.example.com/clients/",
			Credentials: map[string][]string{"client_id": {"/id", "/client_id"}, "client_secret": {"/client_secret"}},
		},
	}
	if change != nil {
		change(&d)
	}
	return d
}

func hasLogin(name string) bool { return name == CredUsername || name == CredPassword }

func TestAProvisioningStepIsOneRequestWithTheLoginsToken(t *testing.T) {
	p, err := provisioner(nil).Provision(nil, hasLogin)
	if err != nil {
		t.Fatal(err)
	}
	if p.Method != "App" || p.Login.Method != "Login" || p.Host() != "a.example.com:443" || p.String() != "App at a.example.com" {
		t.Errorf("planned %s by %s", p, p.Login.Method)
	}
	req, err := p.NewRequest(token.NewSecret("login-token"))
	if err != nil {
		t.Fatal(err)
	}
	if req.String() != "POST https://a.example.com/clients/" || req.Header.Get("Authorization") != "Bearer login-token" || !req.Body.IsZero() || req.Header.Get("Content-Type") != "" {
		t.Errorf("%s with %v", req, req.Header)
	}
	if _, err := p.NewRequest(token.Secret{}); err == nil {
		t.Error("a request without a token")
	}
}

func TestAProvisioningStepMayHaveABodyAndHeaders(t *testing.T) {
	d := provisioner(func(d *Definition) {
		d.Provisioning.Method, d.Provisioning.JSON, d.Provisioning.Headers = http.MethodPut, map[string]any{"name": "operator"}, map[string]string{"X-Version": "2"}
	})
	p, err := d.Provision(map[string]string{"method": "App"}, hasLogin)
	if err != nil {
		t.Fatal(err)
	}
	req, err := p.NewRequest(token.NewSecret("t"))
	if err != nil {
		t.Fatal(err)
	}
	if req.Method != http.MethodPut || req.Body.Reveal() != `{"name":"operator"}` || req.Header.Get("Content-Type") != "application/json" || req.Header.Get("X-Version") != "2" {
		t.Errorf("%s with %v", req, req.Header)
	}
}

func TestProvisioningNeedsAStepTheRightMethodAndTheLogin(t *testing.T) {
	for name, c := range map[string]struct {
		definition Definition
		parameters map[string]string
		has        func(string) bool
		message    string
	}{
		"no step":            {provisioner(func(d *Definition) { d.Provisioning = nil }), nil, hasLogin, "makes no credentials"},
		"another method":     {provisioner(nil), map[string]string{"method": "Login"}, hasLogin, "for the method App only"},
		"no login":           {provisioner(nil), nil, func(string) bool { return false }, "lack username and password"},
		"an unknown word":    {provisioner(nil), map[string]string{"region": "eu"}, hasLogin, "unknown"},
		"an invalid step":    {provisioner(func(d *Definition) { d.Provisioning.From = "Nobody" }), nil, hasLogin, "do not name two methods"},
		"a plain address":    {provisioner(func(d *Definition) { d.Provisioning.URL = "http://a.example.com" }), nil, hasLogin, "provisioning.url"},
		"a strange method":   {provisioner(func(d *Definition) { d.Provisioning.Method = "GET" }), nil, hasLogin, "provisioning.method"},
		"a forbidden header": {provisioner(func(d *Definition) { d.Provisioning.Headers = map[string]string{"Authorization": "x"} }), nil, hasLogin, "Authorization"},
		"too little":         {provisioner(func(d *Definition) { delete(d.Provisioning.Credentials, "client_id") }), nil, hasLogin, "lacks client_id"},
		"no pointer":         {provisioner(func(d *Definition) { d.Provisioning.Credentials["client_id"] = []string{"id"} }), nil, hasLogin, "not a JSON pointer"},
	} {
		_, err := c.definition.Provision(c.parameters, c.has)
		if e, ok := errors.AsType[*Error](err); !ok || e.Kind != Input || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProvisionedCredentialsAreReadOutOfTheAnswer(t *testing.T) {
	p, err := provisioner(nil).Provision(nil, hasLogin)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Decode(metadataAnswer(201, `{"client_id":"me","client_secret":"s3cret"}`))
	if err != nil || got[CredClientID].Reveal() != "me" || got[CredClientSecret].Reveal() != "s3cret" || len(got) != 2 {
		t.Errorf("%v, %v", len(got), err)
	}
}

func TestOnlyARefusalSaysThatNoCredentialsWereMade(t *testing.T) {
	p, err := provisioner(nil).Provision(nil, hasLogin)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		answer Answer
		kind   Kind
		lost   bool
	}{
		"a failure":         {metadataAnswer(500, ""), Unavailable, true},
		"a gateway":         {metadataAnswer(502, ""), Unavailable, true},
		"a time-out":        {metadataAnswer(408, ""), Unavailable, true},
		"HTML":              {metadataAnswer(200, "<html>"), Unavailable, true},
		"half of it":        {metadataAnswer(200, `{"client_id":"me"}`), Unavailable, true},
		"half of it, empty": {metadataAnswer(200, `{"client_id":"me","client_secret":""}`), Unavailable, true},
		"with a newline":    {metadataAnswer(200, `{"client_id":"me","client_secret":"a\nb"}`), Unavailable, true},
		"a pause":           {metadataAnswer(429, ""), Throttled, false},
		"a refusal":         {metadataAnswer(403, `{"detail":"leak"}`), Denied, false},
		"a redirect":        {metadataAnswer(307, ""), Misconfigured, false},
		"no such place":     {metadataAnswer(404, ""), Misconfigured, false},
	} {
		_, err := p.Decode(c.answer)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Kind != c.kind || e.SentMaybe != c.lost || strings.Contains(err.Error(), "leak") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzProvisionedCredentialsCanBeSent(f *testing.F) {
	f.Add(`{"client_id":"me","client_secret":"s"}`)
	p, err := provisioner(nil).Provision(nil, hasLogin)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := p.Decode(metadataAnswer(200, body))
		if err != nil {
			return
		}
		for name, value := range got {
			if value.IsZero() || !isVSCHAR(value.Reveal()) {
				t.Errorf("%s cannot be sent", name)
			}
		}
		if !json.Valid([]byte(body)) {
			t.Error("read out of something that is not JSON")
		}
	})
}

func TestAParameterMayStandInTheStepsURLAlone(t *testing.T) {
	d := provisioner(func(d *Definition) {
		d.Parameters = []Parameter{{Name: "tenant"}}
		d.Provisioning.URL = "https://{tenant}.example.com/clients"
	})
	p, err := d.Provision(map[string]string{"tenant": "acme"}, hasLogin)
	if err != nil || p.URL != "https://acme.example.com/clients" {
		t.Errorf("%s, %v", p.URL, err)
	}
}
