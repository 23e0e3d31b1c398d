package target

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// Keys of the target Secret that the operator makes.
const (
	// TokenKey holds the bare token.
	TokenKey = "token"
	// AuthorizationKey holds the value of an Authorization header.
	AuthorizationKey = "authorization"
	// TokenTypeKey holds the token's type, such as Bearer.
	TokenTypeKey = "token-type"
	// ExpiresAtKey holds the expiry in RFC 3339 and UTC.
	ExpiresAtKey = "expires-at"
	// NetrcKey holds a netrc file.
	NetrcKey = ".netrc"
	// HeaderKey holds one HTTP header line without a line end.
	HeaderKey = "header"
)

// formatData makes the keys of the format.
func formatData(t v1alpha1.Target, tok token.Token) (map[string][]byte, error) {
	data := map[string][]byte{
		TokenKey:         []byte(tok.Access.Reveal()),
		AuthorizationKey: []byte(authorization(tok)),
		TokenTypeKey:     []byte(tok.Type),
		ExpiresAtKey:     []byte(formatInstant(tok.ExpiresAt)),
	}
	switch t.Format {
	case "", v1alpha1.DefaultFormat:
		return data, nil
	case v1alpha1.BasicAuthFormat:
		addBasicAuth(data, t.BasicAuth, tok)
		return data, nil
	case v1alpha1.DockerConfigJSONFormat:
		return data, addDockerConfig(data, t.DockerConfigJSON, tok)
	case v1alpha1.NetrcFormat:
		return data, addNetrc(data, t.Netrc, tok)
	case v1alpha1.HeaderFormat:
		addHeader(data, t.Header, tok)
		return data, nil
	default:
		return nil, invalidTemplate("use Default, BasicAuth, DockerConfigJSON, Netrc or Header", "target.format %q is not known", t.Format)
	}
}

// authorization is the token after its type; bare when the type is not known.
func authorization(tok token.Token) string {
	if tok.Type == "" {
		return tok.Access.Reveal()
	}
	return tok.Authorization().Reveal()
}

func addBasicAuth(data map[string][]byte, p *v1alpha1.BasicAuthTarget, tok token.Token) {
	username := "oauth2"
	if p != nil && p.Username != "" {
		username = string(p.Username)
	}
	data[corev1.BasicAuthUsernameKey] = []byte(username)
	data[corev1.BasicAuthPasswordKey] = []byte(tok.Access.Reveal())
}

// dockerConfig is the part of Docker's config.json that registries' clients read.
type dockerConfig struct {
	Auths map[string]dockerAuth `json:"auths"`
}

type dockerAuth struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Auth     string `json:"auth"`
}

func addDockerConfig(data map[string][]byte, p *v1alpha1.DockerConfigJSONTarget, tok token.Token) error {
	if p == nil || p.Registry == "" {
		return invalidTemplate("set it to the registry's host", "format DockerConfigJSON needs target.dockerConfigJSON.registry")
	}
	username := "oauth2accesstoken"
	if p.Username != "" {
		username = string(p.Username)
	}
	password := tok.Access.Reveal()
	file, err := compactJSON(dockerConfig{Auths: map[string]dockerAuth{p.Registry: {
		Username: username,
		Password: password,
		Auth:     base64.StdEncoding.EncodeToString([]byte(username + ":" + password)),
	}}})
	data[corev1.DockerConfigJsonKey] = []byte(file)
	return err
}

func addNetrc(data map[string][]byte, p *v1alpha1.NetrcTarget, tok token.Token) error {
	if p == nil || p.Machine == "" {
		return invalidTemplate("set it to the host that the token is for", "format Netrc needs target.netrc.machine")
	}
	login := "oauth2"
	if p.Login != "" {
		login = string(p.Login)
	}
	password := tok.Access.Reveal()
	if !netrcWord(password) {
		return &Error{Reason: InvalidToken, Problem: "the token has characters that a netrc file cannot hold", Fix: "use another target.format"}
	}
	data[NetrcKey] = []byte("machine " + p.Machine + " login " + login + " password " + password + "\n")
	return nil
}

// netrcWord tells whether every netrc parser reads s as one word. With a blank
// in it a token could bring a machine entry of its own; quotes, backslashes and
// a leading # mean different things to different parsers.
func netrcWord(s string) bool {
	return !strings.ContainsAny(s, " \"\\") && !strings.HasPrefix(s, "#")
}

func addHeader(data map[string][]byte, p *v1alpha1.HeaderTarget, tok token.Token) {
	name, scheme := "Authorization", tok.Type
	if p != nil && p.Name != "" {
		name = p.Name
	}
	if p != nil && p.Scheme != nil {
		scheme = *p.Scheme
	}
	if scheme != "" {
		scheme += " "
	}
	data[HeaderKey] = []byte(name + ": " + scheme + tok.Access.Reveal())
}

// secretType is the type that the Secret has for good.
func secretType(t v1alpha1.Target) corev1.SecretType {
	switch {
	case t.Format == v1alpha1.BasicAuthFormat:
		return corev1.SecretTypeBasicAuth
	case t.Format == v1alpha1.DockerConfigJSONFormat:
		return corev1.SecretTypeDockerConfigJson
	case t.Template != nil && t.Template.Type != "":
		return corev1.SecretType(t.Template.Type)
	default:
		return corev1.SecretTypeOpaque
	}
}

// checkTyped holds data against what the API server wants to see in a Secret of that type.
func checkTyped(typ corev1.SecretType, data map[string][]byte) error {
	switch typ {
	case corev1.SecretTypeOpaque:
		return nil
	case corev1.SecretTypeBasicAuth:
		return checkBasicAuth(data)
	case corev1.SecretTypeDockerConfigJson:
		return checkDockerConfig(data, typ, corev1.DockerConfigJsonKey)
	case corev1.SecretTypeDockercfg:
		return checkDockerConfig(data, typ, corev1.DockerConfigKey)
	default:
		return checkForeignType(typ)
	}
}

// checkForeignType refuses the types of Kubernetes' own domains.
func checkForeignType(typ corev1.SecretType) error {
	domain, _, _ := strings.Cut(string(typ), "/")
	// A Secret of Helm's type is a release, which the next rollback would install.
	if strings.HasSuffix(domain, "kubernetes.io") || strings.HasSuffix(domain, "k8s.io") || strings.HasSuffix(domain, "helm.sh") {
		return invalidTemplate("use Opaque, kubernetes.io/basic-auth, kubernetes.io/dockerconfigjson, kubernetes.io/dockercfg or a type outside kubernetes.io and helm.sh",
			"Secrets of type %q are not for tokens", typ)
	}
	return nil
}

func checkBasicAuth(data map[string][]byte) error {
	_, username := data[corev1.BasicAuthUsernameKey]
	_, password := data[corev1.BasicAuthPasswordKey]
	if username || password {
		return nil
	}
	return invalidTemplate("add it to target.template.data, or use format: BasicAuth with keys: Merge",
		"a Secret of type kubernetes.io/basic-auth needs the key username or password")
}

func checkDockerConfig(data map[string][]byte, typ corev1.SecretType, key string) error {
	file, ok := data[key]
	if !ok {
		return invalidTemplate("add it to target.template.data, or use format: DockerConfigJSON with keys: Merge",
			"a Secret of type %s needs the key %s", typ, key)
	}
	var object map[string]any
	if json.Unmarshal(file, &object) != nil {
		return invalidTemplate("put values into it with quote or toJson", "the key %s must hold a JSON object", key)
	}
	return nil
}

// compactJSON is v as JSON in one line, with <, > and & as they are.
func compactJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}
