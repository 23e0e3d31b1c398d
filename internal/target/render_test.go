package target

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

var update = flag.Bool("update", false, "write the golden files in testdata anew")

func TestRenderMakesTheWholeSecret(t *testing.T) {
	scheme := ""
	tests := []struct {
		golden  string
		owner   *v1alpha1.ProviderToken
		content Content
	}{
		{"default", newOwner(), newContent()},
		{"no-scopes-no-refresh-request", newOwner(), newContent(func(c *Content) { c.Token.Scopes, c.HandledRefresh = nil, "" })},
		{"type-not-known", newOwner(), newContent(func(c *Content) { c.Token.Type = "" })},
		{"retain", newOwner(withTarget(v1alpha1.Target{SecretName: "elsewhere", DeletionPolicy: v1alpha1.RetainTarget})), newContent()},
		{"basic-auth", newOwner(withTarget(v1alpha1.Target{Format: v1alpha1.BasicAuthFormat})), newContent()},
		{"basic-auth-username", newOwner(withTarget(v1alpha1.Target{
			Format: v1alpha1.BasicAuthFormat, BasicAuth: &v1alpha1.BasicAuthTarget{Username: "x-token"}})), newContent()},
		{"docker-config-json", newOwner(withTarget(v1alpha1.Target{
			Format: v1alpha1.DockerConfigJSONFormat, DockerConfigJSON: &v1alpha1.DockerConfigJSONTarget{Registry: "ghcr.io"}})), newContent()},
		{"docker-config-json-username", newOwner(withTarget(v1alpha1.Target{
			Format:           v1alpha1.DockerConfigJSONFormat,
			DockerConfigJSON: &v1alpha1.DockerConfigJSONTarget{Registry: "registry.example.com:5000/team", Username: "robot<1>"}})), newContent()},
		{"netrc", newOwner(withTarget(v1alpha1.Target{
			Format: v1alpha1.NetrcFormat, Netrc: &v1alpha1.NetrcTarget{Machine: "api.example.com"}})), newContent()},
		{"netrc-login", newOwner(withTarget(v1alpha1.Target{
			Format: v1alpha1.NetrcFormat, Netrc: &v1alpha1.NetrcTarget{Machine: "api.example.com", Login: "me"}})), newContent()},
		{"header", newOwner(withTarget(v1alpha1.Target{Format: v1alpha1.HeaderFormat})), newContent()},
		{"header-without-scheme", newOwner(withTarget(v1alpha1.Target{
			Format: v1alpha1.HeaderFormat, Header: &v1alpha1.HeaderTarget{Name: "X-Api-Key", Scheme: &scheme}})), newContent()},
		{"template-merge", newOwner(withTemplate(v1alpha1.SecretTemplate{
			Type: "example.com/token",
			Metadata: &v1alpha1.TemplateMetadata{
				Labels:      map[string]v1alpha1.LabelValue{"app": "viewer", "example.com/team": "imagery"},
				Annotations: map[string]v1alpha1.MetadataValue{"Example.com/Note": "for the viewer"},
			},
			Data: map[string]v1alpha1.TemplateText{
				"authorization": "Token {{ .token }}",
				"config.yaml":   "token: {{ .token | quote }}\nexpires: {{ .expiresAt }}\nissued: {{ .issuedAt }}\nunix: {{ .expiresAtUnix }}\n{{ with .scopes }}scopes: {{ toJson . }}\n{{ end }}",
			},
		})), newContent()},
		{"template-replace", newOwner(withTemplate(v1alpha1.SecretTemplate{
			Type: "kubernetes.io/dockercfg",
			Data: map[string]v1alpha1.TemplateText{".dockercfg": `{"ghcr.io":{"auth":{{ printf "oauth2:%s" .token | b64enc | quote }}}}`},
			Keys: v1alpha1.ReplaceKeys,
		})), newContent()},
		{"basic-auth-template-replace", newOwner(withTarget(v1alpha1.Target{
			Format: v1alpha1.BasicAuthFormat,
			Template: &v1alpha1.SecretTemplate{
				Data: map[string]v1alpha1.TemplateText{"password": "{{ .token }}"}, Keys: v1alpha1.ReplaceKeys},
		})), newContent()},
	}
	for _, tt := range tests {
		t.Run(tt.golden, func(t *testing.T) {
			compareGolden(t, tt.golden, mustRender(t, tt.owner, tt.content))
		})
	}
}

// compareGolden shows data as text, so that the golden files can be read.
func compareGolden(t *testing.T, name string, s *corev1.Secret) {
	t.Helper()
	s = s.DeepCopy()
	s.StringData = map[string]string{}
	for k, v := range s.Data {
		s.StringData[k] = string(v)
	}
	s.Data = nil
	got, err := yaml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); go test ./internal/target -update writes it anew:\n%s", path, diff)
	}
}

func TestRenderRefusesWhatIsNotAWholeToken(t *testing.T) {
	tests := map[string]func(*Content){
		"no access token":                 func(c *Content) { c.Token.Access = token.Secret{} },
		"no issue time":                   func(c *Content) { c.Token.IssuedAt = time.Time{} },
		"no expiry":                       func(c *Content) { c.Token.ExpiresAt = time.Time{} },
		"a life of less than a second":    func(c *Content) { c.Token.ExpiresAt = c.Token.IssuedAt.Add(999 * time.Millisecond) },
		"a line end in the token":         func(c *Content) { c.Token.Access = token.NewSecret(secretMark + "\nHost: evil") },
		"a control character in the type": func(c *Content) { c.Token.Type = "Bearer\x00" },
		"a character beyond ASCII":        func(c *Content) { c.Token.Access = token.NewSecret(secretMark + "é") },
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Render(newOwner(), newContent(edit))
			e := wantReason(t, err, InvalidToken)
			if strings.Contains(e.Error(), secretMark) {
				t.Errorf("the message %q shows the token", e)
			}
		})
	}
}

func TestRenderKeepsATokenFromWritingItsOwnNetrcEntry(t *testing.T) {
	owner := newOwner(withTarget(v1alpha1.Target{Format: v1alpha1.NetrcFormat, Netrc: &v1alpha1.NetrcTarget{Machine: "api.example.com"}}))
	for _, access := range []string{"x machine evil.example login a", `"quoted"`, `back\slash`, "#comment"} {
		_, err := Render(owner, newContent(func(c *Content) { c.Token.Access = token.NewSecret(access) }))
		wantReason(t, err, InvalidToken)
	}
}

func TestRenderSaysNothingOfTheTokenWhenATemplateFails(t *testing.T) {
	for name, text := range map[string]v1alpha1.TemplateText{
		"out of range":     "{{ slice .token 0 100 }}",
		"missing scope":    "{{ index .scopes 2 }}",
		"wrong comparison": "{{ if lt .token 1 }}{{ end }}",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Render(newOwner(withData(map[string]v1alpha1.TemplateText{"x": text})), newContent())
			e := wantReason(t, err, InvalidTemplate)
			want := `the template of data key "x" does not work with this token; correct target.template.data`
			if e.Error() != want {
				t.Errorf("message is %q, want %q", e, want)
			}
			if e.Err != nil {
				t.Errorf("the error wraps %v, which may quote the token", e.Err)
			}
		})
	}
}

func TestRenderFindsThatDockerConfigIsNoJSONBeforeTheAPIServerDoes(t *testing.T) {
	owner := newOwner(withTemplate(v1alpha1.SecretTemplate{
		Type: "kubernetes.io/dockerconfigjson",
		Data: map[string]v1alpha1.TemplateText{".dockerconfigjson": `{"auths":{"ghcr.io":{"auth":"{{ .token }}"}}}`},
	}))
	mustRender(t, owner, newContent())
	_, err := Render(owner, newContent(func(c *Content) { c.Token.Access = token.NewSecret(`a"b`) }))
	wantReason(t, err, InvalidTemplate)
}

func TestRenderRefusesASecretLargerThanTheLimit(t *testing.T) {
	huge := newContent(func(c *Content) { c.Token.Access = token.NewSecret(strings.Repeat("a", corev1.MaxSecretSize/2)) })
	_, err := Render(newOwner(), huge)
	wantReason(t, err, TooLarge)

	handled := newContent(func(c *Content) { c.HandledRefresh = strings.Repeat("a", 256<<10) })
	_, err = Render(newOwner(), handled)
	wantReason(t, err, TooLarge)
}

func TestRenderIsPure(t *testing.T) {
	owner := newOwner(withTemplate(v1alpha1.SecretTemplate{
		Metadata: &v1alpha1.TemplateMetadata{Labels: map[string]v1alpha1.LabelValue{"b": "1", "a": "2"}},
		Data:     map[string]v1alpha1.TemplateText{"all": "{{ print . }}", "json": "{{ toJson . }}"},
	}))
	before := owner.DeepCopy()
	first := mustRender(t, owner, newContent())
	for range 20 {
		if diff := cmp.Diff(first, mustRender(t, owner, newContent())); diff != "" {
			t.Fatalf("two renderings differ:\n%s", diff)
		}
	}
	if diff := cmp.Diff(before, owner); diff != "" {
		t.Errorf("Render changed its owner:\n%s", diff)
	}
}

// whole instants are what schedule computes from: memory and Secret must agree.
func TestObserveReadsBackWhatRenderWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		scope := rapid.StringMatching(`[\x21\x23-\x5B\x5D-\x7E]{1,12}`)
		issued := noon().Add(time.Duration(rapid.Int64Range(0, 1e18).Draw(t, "issued")))
		content := Content{
			Token: token.Token{
				Access:       token.NewSecret(rapid.StringMatching(`[\x20-\x7E]{1,80}`).Draw(t, "access")),
				Refresh:      token.NewSecret("refresh"),
				Type:         rapid.SampledFrom([]string{"Bearer", "MAC", ""}).Draw(t, "type"),
				Scopes:       rapid.SliceOf(scope).Draw(t, "scopes"),
				IssuedAt:     issued.In(time.FixedZone("somewhere", 3600)),
				ExpiresAt:    issued.Add(time.Second + time.Duration(rapid.Int64Range(0, 1e17).Draw(t, "life"))),
				ExpirySource: rapid.SampledFrom([]token.ExpirySource{token.ExpiresIn, token.JWT}).Draw(t, "source"),
			},
			Inputs:         rapid.StringMatching(`(v1:[0-9a-f]{8})?`).Draw(t, "inputs"),
			HandledRefresh: rapid.String().Draw(t, "handled"),
		}
		if rapid.Bool().Draw(t, "planned") {
			content.RefreshAt = issued.Add(time.Duration(rapid.Int64Range(0, 1e17).Draw(t, "refresh")))
		}
		s, err := Render(newOwner(), content)
		if err != nil {
			t.Fatal(err)
		}
		o := Observe(newOwner(), s)
		if !o.Intact {
			t.Fatal("a fresh target is not intact")
		}
		if diff := cmp.Diff(content.AsPublished(), *o.Content, cmp.AllowUnexported(token.Secret{})); diff != "" {
			t.Fatalf("read back (+) is not what was written (-):\n%s", diff)
		}
		again, err := Render(newOwner(), *o.Content)
		if err != nil {
			t.Fatal(err)
		}
		if !Matches(s, again) {
			t.Fatal("rendering what was read would change the Secret")
		}
	})
}

func TestAsPublishedRoundsDown(t *testing.T) {
	c := newContent(func(c *Content) {
		c.Token.IssuedAt = noon().Add(1999 * time.Millisecond)
		c.Token.ExpiresAt = noon().Add(time.Hour + 999*time.Millisecond)
		c.RefreshAt = noon().Add(time.Minute + time.Nanosecond)
	}).AsPublished()
	if want := noon().Add(time.Second); c.Token.IssuedAt != want {
		t.Errorf("issued at %s, want %s", c.Token.IssuedAt, want)
	}
	if want := noon().Add(time.Hour); c.Token.ExpiresAt != want {
		t.Errorf("expires at %s, want %s", c.Token.ExpiresAt, want)
	}
	if want := noon().Add(time.Minute); c.RefreshAt != want {
		t.Errorf("refresh at %s, want %s", c.RefreshAt, want)
	}
}
