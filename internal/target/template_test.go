package target

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

func TestTemplatesRender(t *testing.T) {
	tests := []struct{ name, template, want string }{
		{"plain text", "hello", "hello"},
		{"every variable", "{{.token}} {{.authorization}} {{.tokenType}} {{.expiresAt}} {{.expiresAtUnix}} {{.issuedAt}} {{.scopes}}",
			"abc Bearer abc Bearer 2026-03-04T13:00:00Z 1772629200 2026-03-04T12:00:00Z [r w]"},
		{"if and else", "{{if eq .tokenType \"MAC\"}}a{{else if .scopes}}b{{else}}c{{end}}", "b"},
		{"with and else", "{{with .scopes}}{{len .}}{{else}}none{{end}}", "2"},
		{"variables", "{{$t := .token}}{{$t = upper $t}}{{$t}}", "ABC"},
		{"comments and trimming", " {{- /* why */ -}} x", "x"},
		{"and or not", `{{and .token (or "" .tokenType | not)}}`, "false"},
		{"comparisons", "{{and (ne 1 2) (lt 1 2) (le 1 1) (gt 2 1) (ge 2 2)}}", "true"},
		{"slice and len", "{{slice .token 0 (len \"ab\")}}", "ab"},
		{"index", "{{index .scopes 1}}", "w"},
		{"b64enc", "{{.token | b64enc}}", "YWJj"},
		{"default takes the value", `{{.tokenType | default "x"}}`, "Bearer"},
		{"default takes the fallback", `{{"" | default "x"}}`, "x"},
		{"indent", `{{"a\nb" | indent 2}}`, "  a\n  b"},
		{"join", `{{.scopes | join ","}}`, "r,w"},
		{"lower", `{{.tokenType | lower}}`, "bearer"},
		{"trim", `{{trim "  a "}}`, "a"},
		{"trimPrefix", `{{"v1.2" | trimPrefix "v"}}`, "1.2"},
		{"trimSuffix", `{{"v1.2" | trimSuffix ".2"}}`, "v1"},
		{"replace", `{{"a-b-c" | replace "-" "+"}}`, "a+b+c"},
		{"replace nothing", `{{"ab" | replace "" "."}}`, ".a.b."},
		{"quote", `{{quote "a\"<b>\n"}}`, `"a\"<b>\n"`},
		{"toJson", `{{toJson .scopes}}{{toJson .expiresAtUnix}}`, `["r","w"]1772629200`},
		{"urlquery", `{{urlquery "a b&c"}}`, "a+b%26c"},
		{"percentEncode", `{{percentEncode "a b+c:d@e/f%~"}}`, "a%20b%2Bc%3Ad%40e%2Ff%25~"},
		{"print", `{{print .token 1 true}}`, "abc1 true"},
		{"printf", `{{printf "%s|%q|%d|%v|%t|%%" .token "q" 3 .scopes true}}`, `abc|"q"|3|[r w]|true|%`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRender(t, newOwner(withData(map[string]v1alpha1.TemplateText{"x": v1alpha1.TemplateText(tt.template)})), shortContent())
			if string(got.Data["x"]) != tt.want {
				t.Errorf("rendered %q, want %q", got.Data["x"], tt.want)
			}
		})
	}
}

func shortContent() Content {
	return newContent(func(c *Content) {
		c.Token.Access = token.NewSecret("abc")
		c.Token.Scopes = []string{"r", "w"}
	})
}

func TestCheckRefusesTemplates(t *testing.T) {
	fourKiB := `{{$x := "` + strings.Repeat("a", 4096) + `"}}`
	tests := []struct {
		name, template string
		reason         Reason
		says           string
	}{
		{"range", "{{range .scopes}}{{.}}{{end}}", InvalidTemplate, `uses range`},
		{"range in if", "{{if .token}}{{range .scopes}}{{end}}{{end}}", InvalidTemplate, `uses range`},
		{"range in else", "{{if .token}}{{else}}{{range .scopes}}{{end}}{{end}}", InvalidTemplate, `uses range`},
		{"range in with", "{{with .token}}{{range $.scopes}}{{end}}{{end}}", InvalidTemplate, `uses range`},
		{"range in the else of with", "{{with .token}}{{else}}{{if 1}}{{range $.scopes}}{{end}}{{end}}{{end}}", InvalidTemplate, `uses range`},
		{"range over a number", "{{range 1000000000}}x{{end}}", InvalidTemplate, `uses range`},
		{"break in range", "{{range .scopes}}{{break}}{{end}}", InvalidTemplate, `uses range`},
		{"define", `{{define "a"}}x{{end}}`, InvalidTemplate, `uses define`},
		{"define of itself", `{{define "x"}}y{{end}}`, InvalidTemplate, `uses define`},
		{"block", `{{block "a" .}}x{{end}}`, InvalidTemplate, `uses define`},
		{"template", `{{template "x"}}`, InvalidTemplate, `uses template`},
		{"template in with", `{{with .token}}{{template "x" .}}{{end}}`, InvalidTemplate, `uses template`},
		{"call", "{{call .token}}", InvalidTemplate, `function "call" not defined`},
		{"html", "{{html .token}}", InvalidTemplate, `function "html" not defined`},
		{"js", "{{js .token}}", InvalidTemplate, `function "js" not defined`},
		{"println", "{{println .token}}", InvalidTemplate, `function "println" not defined`},
		{"function that does not exist", "{{env .token}}", InvalidTemplate, `function "env" not defined`},
		{"variable that does not exist", "{{.tokn}}", InvalidTemplate, `no entry for key "tokn"`},
		{"variable that does not exist, by index", `{{index . "tokn"}}`, InvalidTemplate, "wrong type"},
		{"unclosed action", "{{.token", InvalidTemplate, "unclosed action"},
		{"scope that may not be there", "{{index .scopes 0}}", InvalidTemplate, "index is out of range"},
		{"negative index", "{{index .scopes -1}}", InvalidTemplate, "index is out of range"},
		{"slice beyond a short token", "{{slice .token 0 100}}", InvalidTemplate, "out of range"},
		{"width in printf", `{{printf "%1000000d" 1}}`, InvalidTemplate, "without flags and widths"},
		{"star in printf", `{{printf "%*d" 1000000 1}}`, InvalidTemplate, "without flags and widths"},
		{"precision in printf", `{{printf "%.1000000d" 1}}`, InvalidTemplate, "without flags and widths"},
		{"lone percent in printf", `{{printf "%"}}`, InvalidTemplate, "without flags and widths"},
		{"wide indent", `{{indent 65 "a"}}`, InvalidTemplate, "indent goes from 0 to 64"},
		{"negative indent", `{{indent -1 "a"}}`, InvalidTemplate, "indent goes from 0 to 64"},
		{"number where a string belongs", "{{upper .expiresAtUnix}}", InvalidTemplate, "expected string"},
		{"what JSON cannot say", "{{toJson 1i}}", InvalidTemplate, "toJson cannot encode"},
		{"too long", strings.Repeat("x", 64<<10+1), TooLarge, "longer than 64 KiB"},
		{"much output", strings.Repeat("{{.token}}", 60), TooLarge, "makes more than 64 KiB"},
		{"doubling", `{{$x := print .token .token}}` + strings.Repeat(`{{$x = print $x $x}}`, 60), TooLarge, "more than 64 KiB"},
		{"doubling by printf", `{{$x := .token}}` + strings.Repeat(`{{$x = printf "%s%s" $x $x}}`, 60), TooLarge, "more than 64 KiB"},
		{"encoding again and again", fourKiB + `{{$x = replace "a" "%" $x}}` + strings.Repeat(`{{$x = percentEncode $x}}`, 60), TooLarge, "more than 64 KiB"},
		{"replacing", `{{$x := "aaaaaaaaaaaaaaaa"}}` + strings.Repeat(`{{$x = replace "a" $x $x}}`, 20), TooLarge, "too much work"},
		{"replacing nothing at once", fourKiB + `{{$x = replace "a" "aaaaaaaaaa" $x}}{{replace "" $x $x}}`, TooLarge, "too much work"},
		{"many arguments", fourKiB + `{{print` + strings.Repeat(" $x", 5000) + `}}`, TooLarge, "too much work"},
		{"too much work without output", fourKiB + strings.Repeat(`{{$y := lower $x}}`, 2200), TooLarge, "too much work"},
		{"joining with much", fourKiB + `{{$x = print $x $x $x $x $x $x $x $x $x $x $x $x $x $x $x}}{{join (print $x) .scopes | print $x}}`, TooLarge, "more than 64 KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(&v1alpha1.Target{Template: &v1alpha1.SecretTemplate{
				Data: map[string]v1alpha1.TemplateText{"x": v1alpha1.TemplateText(tt.template)}}})
			e := wantReason(t, err, tt.reason)
			if !strings.Contains(e.Error(), tt.says) {
				t.Errorf("message is %q, want something with %q", e, tt.says)
			}
		})
	}
}

func TestTemplatesTogetherHaveALimit(t *testing.T) {
	data := map[string]v1alpha1.TemplateText{}
	for i := range 9 {
		data[fmt.Sprintf("key%d", i)] = v1alpha1.TemplateText(strings.Repeat("x", 60<<10))
	}
	wantReason(t, Check(&v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Data: data}}), TooLarge)
	delete(data, "key0")
	if err := Check(&v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Data: data}}); err != nil {
		t.Errorf("480 KiB are refused: %v", err)
	}
}

func TestTheActionsOfTemplatesTogetherHaveALimit(t *testing.T) {
	// Of such, 512 KiB would take half a second each time that anybody looks.
	text := v1alpha1.TemplateText(strings.Repeat("{{eq .token .authorization}}", 580))
	few := map[string]v1alpha1.TemplateText{"a": text, "b": text, "c": text, "d": "{{if .token}}" + v1alpha1.TemplateText(strings.Repeat("x", 60<<10)) + "{{end}}"}
	if err := Check(&v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Data: few}}); err != nil {
		t.Errorf("64 KiB are refused: %v", err)
	}
	few["e"], few["f"] = text, text
	if e := wantReason(t, Check(&v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Data: few}}), TooLarge); !strings.Contains(e.Error(), "together") {
		t.Errorf("message is %q", e)
	}
}

func TestCheckTellsInOneShortLineWhatIsWrong(t *testing.T) {
	for _, text := range []string{"{{" + strings.Repeat("y", 10_000) + " .token}}", "{{\n\xff}}", "{{\u202e}}"} {
		err := Check(&v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{"x": v1alpha1.TemplateText(text)}}})
		said := wantReason(t, err, InvalidTemplate).Error()
		if strings.ContainsAny(said, "\n\u202e") || !utf8.ValidString(said) || len(said) > 500 {
			t.Errorf("message has %d bytes: %q", len(said), said)
		}
	}
}

func TestCheckRefusesTargets(t *testing.T) {
	labels := func(key, value string) v1alpha1.Target {
		return v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Metadata: &v1alpha1.TemplateMetadata{
			Labels: map[string]v1alpha1.LabelValue{key: v1alpha1.LabelValue(value)}}}}
	}
	annotations := func(key string) v1alpha1.Target {
		return v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Metadata: &v1alpha1.TemplateMetadata{
			Annotations: map[string]v1alpha1.MetadataValue{key: "x"}}}}
	}
	data := func(key string) v1alpha1.Target {
		return v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{key: "x"}}}
	}
	typed := func(typ string) v1alpha1.Target {
		return v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Type: typ}}
	}
	tests := []struct {
		name   string
		target v1alpha1.Target
		says   string
	}{
		{"unknown format", v1alpha1.Target{Format: "Pem"}, "not known"},
		{"docker config without a registry", v1alpha1.Target{Format: v1alpha1.DockerConfigJSONFormat}, "dockerConfigJSON.registry"},
		{"netrc without a machine", v1alpha1.Target{Format: v1alpha1.NetrcFormat}, "netrc.machine"},
		{"label of Kubernetes", labels("app.kubernetes.io/name", "x"), "reserved"},
		{"label of k8s.io", labels("k8s.io/name", "x"), "reserved"},
		{"label of ours", labels(v1alpha1.TargetLabel, "false"), "reserved"},
		{"label of a subdomain of ours", labels("x.providertoken.dev/y", "false"), "reserved"},
		{"label of Argo CD", labels("argocd.argoproj.io/instance", "x"), "reserved"},
		{"cluster of Argo CD", labels("argocd.argoproj.io/secret-type", "cluster"), "not for tokens"},
		{"label key that is none", labels("a..b/x", "x"), "not a valid key"},
		{"label value that is none", labels("a", "not a value"), "not one that labels can have"},
		{"annotation of ours", annotations(v1alpha1.OwnerAnnotation), "reserved"},
		{"annotation of ours in capitals", annotations("ProviderToken.dev/owner"), "reserved"},
		{"annotation key that is none", annotations("a b"), "not a valid key"},
		{"data key that is none", data("a/b"), "not a valid key"},
		{"data key of dots", data(".."), "not a valid key"},
		{"data key token", data("token"), "reserved for the operator"},
		{"data key expires-at", data("expires-at"), "reserved for the operator"},
		{"data key previous-token", data("previous-token"), "reserved for the operator"},
		{"data key previous-expires-at", data("previous-expires-at"), "reserved for the operator"},
		{"type of Kubernetes", typed("kubernetes.io/service-account-token"), "not for tokens"},
		{"type of a part of Kubernetes", typed("bootstrap.kubernetes.io/token"), "not for tokens"},
		{"type of k8s.io", typed("x.k8s.io/y"), "not for tokens"},
		{"type of a Helm release", typed("helm.sh/release.v1"), "not for tokens"},
		{"annotation of a program that copies Secrets", annotations("replicator.v1.mittwald.de/replicate-to"), "reserved"},
		{"basic-auth without its keys", typed("kubernetes.io/basic-auth"), "needs the key username or password"},
		{"dockerconfigjson without its key", typed("kubernetes.io/dockerconfigjson"), "needs the key .dockerconfigjson"},
		{"dockercfg without its key", typed("kubernetes.io/dockercfg"), "needs the key .dockercfg"},
		{"dockerconfigjson that is no JSON", v1alpha1.Target{Template: &v1alpha1.SecretTemplate{
			Type: "kubernetes.io/dockerconfigjson", Data: map[string]v1alpha1.TemplateText{".dockerconfigjson": "{{.token}}"}}}, "must hold a JSON object"},
		{"format's keys replaced although the type needs them", v1alpha1.Target{Format: v1alpha1.BasicAuthFormat,
			Template: &v1alpha1.SecretTemplate{Keys: v1alpha1.ReplaceKeys, Data: map[string]v1alpha1.TemplateText{"x": "y"}}}, "needs the key username or password"},
		{"keys replaced although the previous token needs them", v1alpha1.Target{KeepPrevious: true,
			Template: &v1alpha1.SecretTemplate{Keys: v1alpha1.ReplaceKeys, Data: map[string]v1alpha1.TemplateText{"x": "y"}}}, "needs the keys that the operator makes"},
		{"keys replaced by nothing", v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Keys: v1alpha1.ReplaceKeys}}, "leaves nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := wantReason(t, Check(&tt.target), InvalidTemplate)
			if !strings.Contains(e.Error(), tt.says) || e.Fix == "" {
				t.Errorf("message is %q (fix %q), want something with %q and a fix", e.Problem, e.Fix, tt.says)
			}
		})
	}
}

func TestCheckAcceptsTargets(t *testing.T) {
	if err := Check(nil); err != nil {
		t.Errorf("no target at all is refused: %v", err)
	}
	for name, target := range map[string]v1alpha1.Target{
		"a type of one's own":            {Template: &v1alpha1.SecretTemplate{Type: "example.com/token"}},
		"an annotation with capitals":    {Template: &v1alpha1.SecretTemplate{Metadata: &v1alpha1.TemplateMetadata{Annotations: map[string]v1alpha1.MetadataValue{"Note": "x"}}}},
		"a scope where there may be one": {Template: &v1alpha1.SecretTemplate{Data: map[string]v1alpha1.TemplateText{"x": "{{with .scopes}}{{index . 0}}{{end}}"}}},
	} {
		if err := Check(&target); err != nil {
			t.Errorf("%s is refused: %v", name, err)
		}
	}
}

func TestCheckFindsAnnotationsThatAreTooLargeTogether(t *testing.T) {
	annotations := map[string]v1alpha1.MetadataValue{}
	for i := range 32 {
		annotations[fmt.Sprintf("note%d", i)] = v1alpha1.MetadataValue(strings.Repeat("€", 4096))
	}
	wantReason(t, Check(&v1alpha1.Target{Template: &v1alpha1.SecretTemplate{Metadata: &v1alpha1.TemplateMetadata{Annotations: annotations}}}), TooLarge)
}

func TestSampleHoldsNothingOfAnybody(t *testing.T) {
	s, err := Sample(newOwner())
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "up42-token" || !strings.HasPrefix(string(s.Data["token"]), "sample") {
		t.Errorf("sample is %v", s)
	}
}

func FuzzTemplates(f *testing.F) {
	for _, seed := range []string{
		"{{.token}}", "{{range .scopes}}{{end}}", `{{define "x"}}{{end}}`, `{{printf "%s" .token | b64enc | quote}}`,
		`{{with $x := .scopes}}{{join "," $x}}{{else with .token}}{{slice . 1 2}}{{end}}`, `{{$x := 1}}{{$x = toJson .}}`,
		`{{replace "" "xxxxxxxxxxxxxxxxxxxxxxxxxx" .token}}`, `{{indent 64 "\n\n\n"}}`, `{{print . 1i 0x1p-2 'a' nil}}`, "{{((((1))))}}",
		`{{default . (index .scopes 0)}}`, `{{block "a" .}}{{end}}`, `{{- /* c */ -}}`, `{{eq . .}}`, `{{and | or}}`, `{{printf "%!" }}`, `{{break}}`,
		`{{printf "https://u:%s@h" (percentEncode .token)}}`, `{{percentEncode .token | percentEncode | percentEncode | urlquery | b64enc}}`,
	} {
		f.Add(seed, "secret token")
	}
	f.Fuzz(func(t *testing.T, text, access string) {
		owner := newOwner(withData(map[string]v1alpha1.TemplateText{"x": v1alpha1.TemplateText(text)}))
		_ = Check(owner.Spec.Target)
		access = secretMark + access
		s, err := Render(owner, newContent(func(c *Content) { c.Token.Access = token.NewSecret(access) }))
		if err == nil {
			if n := len(s.Data["x"]); n > maxKeyOutput {
				t.Fatalf("%d bytes of output", n)
			}
			return
		}
		if !strings.Contains(text, secretMark) && strings.Contains(err.Error(), secretMark) {
			t.Fatalf("the message %q shows the token", err)
		}
	})
}

func TestDetailsAreOneLine(t *testing.T) {
	if got := detail(errors.New("template: a\nb\x00\xffc")); got != "a b ?c" {
		t.Errorf("detail is %q", got)
	}
}
