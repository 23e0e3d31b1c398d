package controller_test

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// ruleCase is one CEL rule of the CRDs: an object that it accepts, one that it
// refuses, and how the refusal begins. With update set, both are edits of it.
type ruleCase struct {
	name     string
	kind     string // ProviderToken when empty
	update   string
	accepted string
	refused  string
	message  string
}

const inline = "credentials: {secretName: c}\nprovider: {tokenURL: https://a.example.com/t"

func ruleCases() []ruleCase {
	spec := func(extra string) string {
		return "providerRef: {name: UP42}\ncredentials: {secretName: c}\n" + extra
	}
	long := strings.Repeat("n", 50)
	return []ruleCase{
		{name: "one way to the provider", accepted: spec(""), refused: "credentials: {secretName: c}", message: "set exactly one of providerRef"},
		{name: "not two ways to the provider", accepted: inline + "}", refused: spec("provider: {tokenURL: https://a.example.com/t}"), message: "set exactly one of providerRef"},
		{name: "CA bundles of the own namespace only", accepted: inline + ", caBundleRef: {name: ca}}", refused: inline + ", caBundleRef: {name: ca, namespace: other}}", message: "a ProviderToken reads ConfigMaps of its own namespace only"},
		{name: "names of parameters", accepted: "providerRef: {name: UP42, parameters: {region: sa}}\ncredentials: {secretName: c}", refused: "providerRef: {name: UP42, parameters: {'re/gion': sa}}\ncredentials: {secretName: c}", message: "names of parameters are"},
		{name: "a credential Secret", accepted: "providerRef: {name: UP42}\ncredentials: {keys: [{name: username, secretName: a, key: u}, {name: password, secretName: b, key: p}]}", refused: "providerRef: {name: UP42}\ncredentials: {keys: [{name: username, secretName: a, key: u}, {name: password, key: p}]}", message: "set secretName to the credential Secret"},
		{name: "the lead", accepted: spec("refresh: {minimumLead: 5m}"), refused: spec("refresh: {minimumLead: 48h}"), message: "minimumLead must be between"},
		{name: "the interval", accepted: spec("refresh: {minimumInterval: 10s}"), refused: spec("refresh: {minimumInterval: 1ms}"), message: "minimumInterval must be between"},
		{name: "basicAuth's format", accepted: spec("target: {format: BasicAuth, basicAuth: {username: u}}"), refused: spec("target: {format: Netrc, netrc: {machine: m}, basicAuth: {username: u}}"), message: "basicAuth needs format"},
		{name: "dockerConfigJSON's format", accepted: spec("target: {format: DockerConfigJSON, dockerConfigJSON: {registry: r.example.com}}"), refused: spec("target: {format: DockerConfigJSON}"), message: "format: DockerConfigJSON and dockerConfigJSON"},
		{name: "netrc's format", accepted: spec("target: {format: Netrc, netrc: {machine: m}}"), refused: spec("target: {netrc: {machine: m}}"), message: "format: Netrc and netrc"},
		{name: "header's format", accepted: spec("target: {format: Header, header: {name: X-Token, scheme: ''}}"), refused: spec("target: {header: {name: X-Token}}"), message: "header needs format"},
		{name: "one type", accepted: spec("target: {format: Header, template: {type: example.com/header}}"), refused: spec("target: {format: BasicAuth, template: {type: Opaque}}"), message: "format: BasicAuth and DockerConfigJSON set"},
		{name: "what a replacing template holds", accepted: spec("target: {template: {keys: Replace, data: {a: b}}}"), refused: spec("target: {template: {keys: Replace}}"), message: "keys: Replace needs"},
		{name: "the type of a template", accepted: spec("target: {template: {type: example.com/x}}"), refused: spec("target: {template: {type: kubernetes.io/service-account-token}}"), message: "type must be Opaque"},
		{name: "the type of a template, in a subdomain", accepted: spec("target: {template: {type: kubernetes.io/dockercfg}}"), refused: spec("target: {template: {type: bootstrap.kubernetes.io/token}}"), message: "type must be Opaque"},
		{name: "keys of data", accepted: spec("target: {template: {data: {a.b-c_d: x}}}"), refused: spec("target: {template: {data: {a/b: x}}}"), message: "keys of data are"},
		{name: "reserved keys of data", accepted: spec("target: {template: {data: {access-token: x}}}"), refused: spec("target: {template: {data: {expires-at: x}}}"), message: "token, expires-at, previous-token and previous-expires-at are reserved"},
		{name: "keys for the previous token", accepted: spec("target: {keepPrevious: true, template: {data: {a: b}}}"), refused: spec("target: {keepPrevious: true, template: {keys: Replace, data: {a: b}}}"), message: "keepPrevious needs"},
		{name: "keys of labels", accepted: spec("target: {template: {metadata: {labels: {example.com/team: a}}}}"), refused: spec("target: {template: {metadata: {labels: {'a b': a}}}}"), message: "keys of labels must be"},
		{name: "reserved labels", accepted: spec("target: {template: {metadata: {labels: {team: a}}}}"), refused: spec("target: {template: {metadata: {labels: {argocd.argoproj.io/instance: app}}}}"), message: "labels of kubernetes.io"},
		{name: "what Argo CD may take a token for", accepted: spec("target: {template: {metadata: {labels: {argocd.argoproj.io/secret-type: repository}}}}"), refused: spec("target: {template: {metadata: {labels: {argocd.argoproj.io/secret-type: cluster}}}}"), message: "argocd.argoproj.io/secret-type may be"},
		{name: "keys of annotations", accepted: spec("target: {template: {metadata: {annotations: {example.com/team: a}}}}"), refused: spec("target: {template: {metadata: {annotations: {'a b': a}}}}"), message: "keys of annotations must be"},
		{name: "reserved annotations", accepted: spec("target: {template: {metadata: {annotations: {example.com/kubernetes.io: a}}}}"), refused: spec("target: {template: {metadata: {annotations: {kubernetes.io/service-account.name: default}}}}"), message: "annotations of kubernetes.io"},
		{name: "credentials, unless the platform has them", accepted: "providerRef: {kind: ClusterTokenProvider, name: sso}", refused: "providerRef: {name: UP42}", message: "set credentials.secretName to the credential Secret"},
		{name: "a Secret to provision with", accepted: "providerRef: {name: SpatiaFi}\ncredentials: {secretName: c, provision: {secretName: d}}", refused: "providerRef: {name: SpatiaFi}\ncredentials: {serviceAccount: {name: c}, provision: {secretName: d}}", message: "provision needs secretName"},
		{name: "a Secret of its own for what is provisioned", accepted: "providerRef: {name: SpatiaFi}\ncredentials: {secretName: c, provision: {secretName: d}}", refused: "providerRef: {name: SpatiaFi}\ncredentials: {secretName: c, provision: {secretName: c}}", message: "provision.secretName must be a Secret of its own"},
		{name: "the name with an inline provider", accepted: inline + "}", refused: inline + "}\nNAME: " + long, message: "a ProviderToken with a provider of its own"},
		{name: "the target's name, for ever", update: spec("target: {secretName: a}"), accepted: spec("target: {secretName: a, deletionPolicy: Retain}"), refused: spec("target: {secretName: b}"), message: "target.secretName cannot be changed"},
		{name: "the target's name, for ever, when it was left out", update: spec(""), accepted: spec("suspend: true"), refused: spec("target: {secretName: b}"), message: "target.secretName cannot be changed"},
		{name: "the template's type, for ever", update: spec("target: {template: {type: example.com/a}}"), accepted: spec("target: {template: {type: example.com/a, data: {a: b}}}"), refused: spec("target: {template: {type: example.com/b}}"), message: "target.template.type cannot be changed"},
		{name: "the format's type, for ever", update: spec("target: {format: BasicAuth}"), accepted: spec("target: {format: BasicAuth, basicAuth: {username: u}}"), refused: spec("target: {format: Header}"), message: "target.format cannot be changed"},

		{name: "an endpoint", kind: "TokenProvider", accepted: "base: UP42", refused: "grant: Password", message: "set tokenURL to the provider's token endpoint"},
		{name: "a base for a method", kind: "TokenProvider", accepted: "base: SpatiaFi\nmethod: AppToken", refused: "tokenURL: https://a.example.com\nmethod: AppToken", message: "method chooses among the ways in"},
		{name: "one CA bundle", kind: "TokenProvider", accepted: "base: UP42\ncaBundleRef: {name: ca}", refused: "base: UP42\ncaBundleRef: {name: ca}\ncaBundle: -----BEGIN CERTIFICATE-----", message: "set either caBundle or caBundleRef"},
		{name: "a login's grant", kind: "TokenProvider", accepted: "tokenURL: https://a.example.com\ngrant: Password\nrequest: {login: BasicHeader}", refused: "tokenURL: https://a.example.com\nrequest: {login: BasicHeader}", message: "request.login says"},
		{name: "https", kind: "TokenProvider", accepted: "tokenURL: https://a.example.com:8443/t?x=y", refused: "tokenURL: http://a.example.com/t", message: "tokenURL must be an absolute https URL"},
		{name: "no user in the URL", kind: "TokenProvider", accepted: "tokenURL: https://a.example.com/t", refused: "tokenURL: https://u@a.example.com/t", message: "tokenURL must have no user"},
		{name: "names of form fields", kind: "TokenProvider", accepted: "base: UP42\nformParameters: {account_id: x}", refused: "base: UP42\nformParameters: {'a=b&c': x}", message: "names of formParameters"},
		{name: "reserved form fields", kind: "TokenProvider", accepted: "base: UP42\nformParameters: {tenant: x}", refused: "base: UP42\nformParameters: {client_secret: x}", message: "formParameters must not set"},
		{name: "names of headers", kind: "TokenProvider", accepted: "base: UP42\nrequest: {headers: {X-Tenant: x}}", refused: "base: UP42\nrequest: {headers: {'X Tenant': x}}", message: "names of headers"},
		{name: "reserved headers", kind: "TokenProvider", accepted: "base: UP42\nrequest: {headers: {Accept-Language: en}}", refused: "base: UP42\nrequest: {headers: {aUTHORIZATION: x}}", message: "headers must not set"},
		{name: "an assertion's life", kind: "TokenProvider", accepted: "base: UP42\nassertion: {lifetime: 5m}", refused: "base: UP42\nassertion: {lifetime: 24h}", message: "lifetime must be between"},
		{name: "an assertion's age", kind: "TokenProvider", accepted: "base: UP42\nassertion: {backdate: 1m}", refused: "base: UP42\nassertion: {backdate: 1h}", message: "backdate must be between"},
		{name: "reserved claims", kind: "TokenProvider", accepted: "base: UP42\nassertion: {claims: {scope: a}}", refused: "base: UP42\nassertion: {claims: {aud: a}}", message: "claims must not set"},
		{name: "one endpoint", kind: "TokenProvider", accepted: "issuerURL: https://a.example.com/realms/x", refused: "issuerURL: https://a.example.com\ntokenURL: https://a.example.com/t", message: "set either tokenURL or issuerURL"},
		{name: "an issuer", kind: "TokenProvider", accepted: "issuerURL: https://a.example.com", refused: "issuerURL: http://a.example.com", message: "issuerURL must be an absolute"},
		{name: "nothing but the issuer", kind: "TokenProvider", accepted: "issuerURL: https://a.example.com/", refused: "issuerURL: https://a.example.com/?x=y", message: "issuerURL must have no"},
		{name: "what parameters fill", kind: "TokenProvider", accepted: "base: UP42\nparameters: {region: sa}", refused: "tokenURL: https://a.example.com\nparameters: {region: sa}", message: "parameters fill what"},
		{name: "names of parameters of an object", kind: "TokenProvider", accepted: "base: UP42\nparameters: {region: sa}", refused: "base: UP42\nparameters: {'re/gion': sa}", message: "names of parameters are"},
		{name: "a grant of the provider's own", kind: "TokenProvider", accepted: "tokenURL: https://a.example.com\ngrant: Custom\ngrantType: account_credentials", refused: "tokenURL: https://a.example.com\ngrant: Custom", message: "grant: Custom and grantType"},
		{name: "a grant's own name", kind: "TokenProvider", accepted: "tokenURL: https://a.example.com\ngrant: Password", refused: "tokenURL: https://a.example.com\ngrantType: password", message: "grant: Custom and grantType"},
		{name: "types of tokens", kind: "TokenProvider", accepted: "tokenURL: https://a.example.com\ngrant: TokenExchange\ntokenExchange: {requestedTokenType: 'urn:ietf:params:oauth:token-type:jwt'}", refused: "tokenURL: https://a.example.com\ntokenExchange: {requestedTokenType: 'urn:ietf:params:oauth:token-type:jwt'}", message: "tokenExchange needs grant"},
		{name: "a token's life", kind: "TokenProvider", accepted: "base: UP42\ntokenLifetime: 5m", refused: "base: UP42\ntokenLifetime: 1s", message: "tokenLifetime must be"},
		{name: "PEM", kind: "TokenProvider", accepted: "base: UP42\ncaBundle: -----BEGIN CERTIFICATE-----", refused: "base: UP42\ncaBundle: MIIB", message: "caBundle must hold PEM"},
		{name: "the name of a TokenProvider", kind: "TokenProvider", accepted: "base: UP42", refused: "base: UP42\nNAME: " + long, message: "the name must have at most 49"},
		{name: "a TokenProvider's ConfigMap", kind: "TokenProvider", accepted: "base: UP42\ncaBundleRef: {name: ca}", refused: "base: UP42\ncaBundleRef: {name: ca, namespace: ns}", message: "a TokenProvider reads ConfigMaps"},
		{name: "the name of a ClusterTokenProvider", kind: "ClusterTokenProvider", accepted: "base: UP42", refused: "base: UP42\nNAME: " + long[:43], message: "the name must have at most 42"},
		{name: "who may use the platform's credentials", kind: "ClusterTokenProvider", accepted: "base: UP42\ncredentials: {namespace: ns, secretName: c}\nallow: {namespaces: {names: [a]}}", refused: "base: UP42\ncredentials: {namespace: ns, secretName: c}", message: "credentials and allow go together"},
		{name: "the platform's Secret", kind: "ClusterTokenProvider", accepted: "base: UP42\ncredentials: {namespace: ns, keys: [{name: username, secretName: a, key: u}]}\nallow: {namespaces: {names: [a]}}", refused: "base: UP42\ncredentials: {namespace: ns}\nallow: {namespaces: {names: [a]}}", message: "set secretName to the credential Secret"},
		{name: "a ClusterTokenProvider's ConfigMap", kind: "ClusterTokenProvider", accepted: "base: UP42\ncaBundleRef: {name: ca, namespace: ns}", refused: "base: UP42\ncaBundleRef: {name: ca}", message: "a ClusterTokenProvider has no namespace"},
	}
}

// object makes an object of a case; a key NAME in the spec's text is its name.
func (c ruleCase) object(namespace, spec string) *unstructured.Unstructured {
	GinkgoHelper()
	content := map[string]any{}
	Expect(yaml.Unmarshal([]byte(spec), &content)).To(Succeed(), spec)
	name, _ := content["NAME"].(string)
	delete(content, "NAME")
	if name == "" {
		name = "rule"
	}
	kind := c.kind
	if kind == "" {
		kind = "ProviderToken"
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": content}}
	u.SetAPIVersion("providertoken.dev/v1alpha1")
	u.SetKind(kind)
	u.SetName(name)
	if kind != "ClusterTokenProvider" {
		u.SetNamespace(namespace)
	}
	return u
}

var _ = Describe("the API", Ordered, func() {
	var namespace string
	BeforeAll(func(ctx SpecContext) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "rules-"}}
		Expect(k8s.Create(ctx, ns)).To(Succeed())
		namespace = ns.Name
	})

	for _, c := range ruleCases() {
		It("has a rule about "+c.name, func(ctx SpecContext) {
			write := func(spec string) error {
				o := c.object(namespace, spec)
				if c.update == "" {
					return k8s.Create(ctx, o, client.DryRunAll)
				}
				o.SetResourceVersion(readVersion(ctx, o))
				return k8s.Update(ctx, o, client.DryRunAll)
			}
			if c.update != "" {
				o := c.object(namespace, c.update)
				Expect(k8s.Create(ctx, o)).To(Succeed())
				DeferCleanup(func(ctx SpecContext) { Expect(k8s.Delete(ctx, o)).To(Succeed()) })
			}
			Expect(write(c.accepted)).To(Succeed())
			err := write(c.refused)
			Expect(apierrors.IsInvalid(err)).To(BeTrue(), "%v", err)
			Expect(err.Error()).To(ContainSubstring(c.message))
		})
	}

	It("has no rule without a case", func() {
		var cases []string
		for _, c := range ruleCases() {
			cases = append(cases, c.message)
		}
		for _, message := range ruleMessages() {
			Expect(cases).To(ContainElement(Satisfy(func(m string) bool { return strings.HasPrefix(message, m) })), message)
		}
	})
})

func readVersion(ctx SpecContext, o *unstructured.Unstructured) string {
	GinkgoHelper()
	got := &unstructured.Unstructured{}
	got.SetGroupVersionKind(o.GroupVersionKind())
	Expect(k8s.Get(ctx, client.ObjectKeyFromObject(o), got)).To(Succeed())
	return got.GetResourceVersion()
}

// ruleMessages are the messages of all CEL rules in the CRDs.
func ruleMessages() []string {
	GinkgoHelper()
	files, err := filepath.Glob(filepath.Join("..", "..", "config", "crd", "bases", "*.yaml"))
	Expect(err).NotTo(HaveOccurred())
	Expect(files).To(HaveLen(3))
	var messages []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		Expect(err).NotTo(HaveOccurred())
		var crd map[string]any
		Expect(yaml.Unmarshal(data, &crd)).To(Succeed())
		messages = append(messages, collectMessages(crd)...)
	}
	Expect(messages).NotTo(BeEmpty())
	return messages
}

func collectMessages(node any) []string {
	var found []string
	switch n := node.(type) {
	case map[string]any:
		for key, child := range n {
			rules, isRules := child.([]any)
			if key == "x-kubernetes-validations" && isRules {
				for _, r := range rules {
					if rule, ok := r.(map[string]any); ok {
						message, _ := rule["message"].(string)
						found = append(found, message)
					}
				}
				continue
			}
			found = append(found, collectMessages(child)...)
		}
	case []any:
		for _, child := range n {
			found = append(found, collectMessages(child)...)
		}
	}
	return found
}
