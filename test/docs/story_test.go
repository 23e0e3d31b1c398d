package docs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/internal/providersim"
)

// characters are what a reader of a tutorial puts in place of the examples', and the provider
// that a pod's request goes to.
func (d *desk) characters(page string) (swaps map[string][]swap, resource string) {
	GinkgoHelper()
	sim := d.Sim
	value := func(key, example, own string) swap {
		return swap{key + ": " + example, key + ": " + strconv.Quote(own)}
	}
	login := func(username, password string) []swap {
		return []swap{value("username", "me@example.com", username), value("password", "replace-me", password)}
	}
	app := func(id, example, secret, secretExample string) []swap {
		return []swap{value("client_secret", secretExample, secret), value("client_id", example, id)}
	}
	ca := "  caBundle: |\n" + indented(sim.CABundle(), "    ")
	switch page {
	case "docs/tutorials/up42.md":
		return map[string][]swap{
			"login.yaml":   login(providersim.UP42Username, providersim.UP42Password),
			"project.yaml": {value("project_id", "00000000-0000-0000-0000-000000000000", providersim.UP42ProjectID), value("project_api_key", "replace-me", providersim.UP42ProjectKey)},
		}, sim.UP42.ResourceURL()
	case "docs/tutorials/plantpredict.md":
		return map[string][]swap{"client.yaml": app(providersim.PlantPredictClientID, "replace-me", providersim.PlantPredictClientSecret, "replace-me-too")}, sim.PlantPredict.ResourceURL()
	case "docs/tutorials/spatiafi.md":
		return map[string][]swap{
			"login.yaml": login(providersim.SpatiaFiUsername, providersim.SpatiaFiPassword),
			"app.yaml":   app(providersim.SpatiaFiClientID, "replace-me", providersim.SpatiaFiClientSecret, "replace-me-too"),
		}, sim.SpatiaFi.ResourceURL()
	case "docs/tutorials/any-oauth2-provider.md":
		sim.Generic.SetDocument("/realm/.well-known/openid-configuration", fmt.Sprintf(`{"issuer": %q, "token_endpoint": %q}`, sim.Generic.IssuerURL(), sim.Generic.TokenURL()))
		return map[string][]swap{
			"client.yaml": append(app(providersim.KeycloakClientID, "reports", providersim.KeycloakClientSecret, "replace-me"),
				swap{"allowed-hosts: sso.example.com", "allowed-hosts: " + sim.Keycloak.Address()},
				swap{"host: sso.example.com, realm: corp", `host: "` + sim.Keycloak.Address() + `", realm: ` + providersim.KeycloakRealm}),
			"provider.yaml": {
				{"issuerURL: https://sso.example.com/realms/corp   # its metadata name the token endpoint\n", "issuerURL: " + sim.Generic.IssuerURL() + "\n" + ca},
				{"name: corp-sso", "name: " + d.Cluster("corp-sso")},
			},
			"orders.yaml": append(app(providersim.GenericClientID, "orders", providersim.GenericClientSecret, "replace-me"),
				swap{"ClusterTokenProvider.corp-sso", "ClusterTokenProvider." + d.Cluster("corp-sso")}, swap{"name: corp-sso", "name: " + d.Cluster("corp-sso")}),
		}, sim.Generic.ResourceURL()
	}
	return nil, ""
}

// hurried readers look closely, and do not wait for minutes.
var hurried = strings.NewReplacer("kubectl apply ", "kubectl apply --validate=strict ", "--timeout=2m", "--timeout=20s")

// tell a tutorial: its files are written, its commands run in their order, with an operator at
// work; then the provider is asked for something, as each pod would.
func tell(ctx context.Context, page string, all []snippet) {
	GinkgoHelper()
	tally.add("blocks in all", len(all))
	d := newDesk(ctx)
	d.Operator()
	swaps, resource := d.characters(page)
	Expect(resource).NotTo(BeEmpty(), "%s: this test does not know its characters: say who they are in story_test.go", page)
	typed := ""
	sent := 0
	for _, s := range all {
		switch s.lang {
		case "yaml":
			Expect(s.title()).NotTo(BeEmpty(), "%s: the first line must be a comment with the file's name", s)
			text := exchanged(s.text, swaps[s.title()])
			found, err := objects(text)
			Expect(err).NotTo(HaveOccurred(), s.String())
			for _, o := range found {
				if o.GetKind() == "Secret" {
					d.known(o)
				}
			}
			Expect(os.WriteFile(filepath.Join(d.folder, s.title()), []byte(text), 0o600)).To(Succeed())
			tally.add("manifests applied (server-side, strict)", len(found))
		case "sh":
			for _, c := range s.commands() {
				p := placeOf(c, tally.used)
				if p.how == notRun {
					tally.add("commands not run", 1)
					continue
				}
				Expect(p.how).To(Equal(executed), "%s: a tutorial's commands are executed: %s", s, c.what)
				_, err := d.run(ctx, hurried.Replace(c.what))
				Expect(err).NotTo(HaveOccurred(), "%s: %s", s, c.what)
				tally.add("commands executed", 1)
				typed += c.what + "\n"
			}
		default:
			Expect(languages()).To(HaveKey(s.lang), s.String())
		}
	}
	for _, s := range all {
		if s.lang != "yaml" {
			continue
		}
		Expect(typed).To(ContainSubstring("-f "+s.title()), "%s: no command applies it", s)
		found, err := objects(s.text)
		Expect(err).NotTo(HaveOccurred())
		for _, o := range found {
			mounted := mounts(o)
			for _, m := range regexp.MustCompile(`@(/var/run/[a-z0-9]+)/([a-z-]+)`).FindAllStringSubmatch(s.text, -1) {
				var target corev1.Secret
				Expect(mounted).To(HaveKey(m[1]), "%s: nothing is mounted there", s)
				Expect(server.Client.Get(ctx, client.ObjectKey{Namespace: d.Namespace, Name: mounted[m[1]]}, &target)).To(Succeed(), s.String())
				Expect(target.Data).To(HaveKey(m[2]), "%s: the file that the container reads", s)
				Expect(d.answer(ctx, resource, string(target.Data[m[2]]))).To(Equal(http.StatusOK), "%s: what the container sends", s)
				sent++
			}
		}
	}
	Expect(sent).To(BeNumerically(">", 0), "%s: no pod uses the token", page)
	tally.add("requests of the tutorials' pods, answered 200 by the provider", sent)
}

// answer of a provider to a request with a line of a header.
func (d *desk) answer(ctx context.Context, url, header string) int {
	GinkgoHelper()
	roots := x509.NewCertPool()
	Expect(roots.AppendCertsFromPEM([]byte(d.Sim.CABundle()))).To(BeTrue())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	Expect(err).NotTo(HaveOccurred())
	name, value, _ := strings.Cut(strings.TrimSpace(header), ": ")
	request.Header.Set(name, value)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	Expect(err).NotTo(HaveOccurred())
	Expect(response.Body.Close()).To(Succeed())
	return response.StatusCode
}
