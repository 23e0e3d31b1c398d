package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
)

// midday is when everything in these tests happens.
var midday = time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)

// spy notes what went over the wire, for tests to look for it where it must not be.
type spy struct {
	client *exchange.Client
	mu     sync.Mutex
	sent   int
	// trusted is how far the last request was.
	trusted exchange.Trust
	// secrets that were in answers.
	secrets []string
}

func (s *spy) Do(ctx context.Context, req provider.Request, trust exchange.Trust) (provider.Answer, error) {
	answer, err := s.client.Do(ctx, req, trust)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	s.trusted = trust
	if _, proof, found := strings.Cut(req.Header.Get("Authorization"), " "); found {
		s.secrets = append(s.secrets, proof)
	}
	members, _ := answer.Members()
	for _, name := range []string{"access_token", "refresh_token", "id_token", "session_state"} {
		if text, _ := members[name].(string); len(text) > 6 {
			s.secrets = append(s.secrets, text)
		}
	}
	return answer, err
}

// bench is a laptop with the simulated providers in reach.
type bench struct {
	t   *testing.T
	sim *providersim.Simulator
	spy *spy
	p   *plugin
	out bytes.Buffer
	d   *desk
	dir string
	// secrets that must never be shown.
	secrets []string
	// reads and answers of the person in front of it.
	exchanger bool
}

type fixedClock struct{}

func (fixedClock) Now() time.Time { return midday }

func newBench(t *testing.T) *bench {
	t.Helper()
	sim, err := providersim.Start(providersim.Options{Now: func() time.Time { return midday }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	client, err := exchange.New(exchange.Options{
		UserAgent: userAgent, Clock: fixedClock{}, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	b := &bench{t: t, sim: sim, spy: &spy{client: client}, dir: t.TempDir(), exchanger: true}
	b.d = &desk{out: &b.out}
	b.p = newPlugin(b.d, quiet)
	b.p.interactive, b.p.in = false, strings.NewReader("")
	b.p.clock = clocktesting.NewFakeClock(midday)
	b.p.catalog = b.catalog
	return b
}

// catalog is the builtin one, with its providers moved to the simulated ones.
func (b *bench) catalog() (*provider.Catalog, error) {
	files := fstest.MapFS{}
	for name, move := range map[string][2]string{
		"UP42":         {"https://{region}.up42.com", "https://" + b.sim.UP42.Address()},
		"SpatiaFi":     {"https://auth.spatiafi.com", "https://" + b.sim.SpatiaFi.Address()},
		"PlantPredict": {"https://terabase-prd.auth.us-west-2.amazoncognito.com", "https://" + b.sim.PlantPredict.Address()},
		"UP42Project":  {"https://api.up42.com", "https://" + b.sim.UP42Project.Address()},
	} {
		text, err := os.ReadFile(filepath.Join("..", "..", "internal", "provider", "catalog", name+".yaml"))
		if err != nil {
			return nil, err
		}
		here := strings.ReplaceAll(string(text), move[0], move[1])
		// The region is in the host, which is another one now.
		here = regexp.MustCompile(`(?m)^parameters:\n( {2}.*\n)+`).ReplaceAllString(here, "")
		here += "caBundle: |\n  " + strings.ReplaceAll(b.sim.CABundle(), "\n", "\n  ") + "\n"
		files["catalog/"+name+".yaml"] = &fstest.MapFile{Data: []byte(here)}
	}
	return provider.ReadCatalog(files)
}

// file writes a manifest, with {ca}, {generic} and such filled in.
func (b *bench) file(name, text string) string {
	b.t.Helper()
	text = strings.NewReplacer(
		"{generic}", b.sim.Generic.Address(), "{issuer}", b.sim.Generic.IssuerURL(),
		"{ca}", strings.ReplaceAll(strings.TrimSpace(b.sim.CABundle()), "\n", "\n    "),
	).Replace(text)
	path := filepath.Join(b.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return path
}

func (b *bench) hide(secrets ...string) { b.secrets = append(b.secrets, secrets...) }

// try runs the command and returns what it printed: always searched for secrets.
func (b *bench) try(args ...string) (string, error) {
	b.t.Helper()
	b.out.Reset()
	b.d.err.Reset()
	command := &tryCommand{p: b.p}
	if b.exchanger {
		command.exchanger = b.spy
	}
	cmd := command.command()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(b.t.Context())
	shown := b.out.String() + b.d.err.String()
	if err != nil {
		shown += err.Error()
	}
	for _, secret := range append(b.secrets, b.spy.secrets...) {
		if secret != "" && strings.Contains(shown, secret) {
			b.t.Errorf("the secret %q is shown in\n%s", secret, shown)
		}
	}
	// Addresses and the lengths of what is signed or drawn differ from run to run.
	text := b.out.String()
	for name, address := range map[string]string{
		"up42": b.sim.UP42.Address(), "spatiafi": b.sim.SpatiaFi.Address(), "plantpredict": b.sim.PlantPredict.Address(),
		"up42project": b.sim.UP42Project.Address(), "generic": b.sim.Generic.Address(),
	} {
		text = strings.ReplaceAll(text, address, name+".example.com")
	}
	text = regexp.MustCompile(`version [0-9a-f]{12}`).ReplaceAllString(text, "version 0123456789ab")
	return text, err
}

var rewrite = flag.Bool("update-try", false, "write the transcripts of try anew")

func sameAs(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "try", name+".txt")
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-committed +now; -update-try writes it anew)\n%s", path, diff)
	}
}

const up42Manifest = `
apiVersion: v1
kind: Secret
metadata:
  name: up42-login
  labels: {providertoken.dev/credentials-for: UP42}
stringData:
  username: ` + providersim.UP42Username + `
  password: "` + providersim.UP42Password + `"
---
apiVersion: providertoken.dev/v1alpha1
kind: ProviderToken
metadata: {name: up42-token}
spec:
  providerRef: {name: UP42}
  credentials: {secretName: up42-login}
`

func TestTryTellsAllAboutALoginButItsSecrets(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.UP42Password, providersim.UP42Username)
	got, err := b.try("--yes", "-f", b.file("up42.yaml", up42Manifest))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.spy.secrets) < 2 {
		t.Fatal("the simulated provider sent no tokens to look for")
	}
	sameAs(t, "login", got)
	if b.spy.trusted.PublicOnly {
		t.Error("the catalog's hosts are trusted less than by the operator")
	}
	if n := b.sim.UP42.Count(providersim.KindPassword); n != 1 {
		t.Errorf("it logged in %d times", n)
	}
}

func TestTryAsJSONHidesTheSame(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.UP42Password, providersim.UP42Username)
	got, err := b.try("--yes", "-o", "json", "-f", b.file("up42.yaml", up42Manifest))
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Decision struct {
			Success bool `json:"success"`
		} `json:"decision"`
		Refresh struct {
			RefreshAt time.Time `json:"refreshAt"`
			ExpiresAt time.Time `json:"expiresAt"`
		} `json:"refresh"`
	}
	if err := json.Unmarshal([]byte(got), &report); err != nil {
		t.Fatal(err)
	}
	if !report.Decision.Success || !report.Refresh.ExpiresAt.Equal(midday.Add(5*time.Minute)) ||
		report.Refresh.RefreshAt.Before(midday.Add(150*time.Second)) || report.Refresh.RefreshAt.After(midday.Add(180*time.Second)) {
		t.Errorf("got %+v", report)
	}
}

func TestTryAsksBeforeALogin(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.UP42Password)
	path := b.file("up42.yaml", up42Manifest)
	if _, err := b.try("-f", path); err == nil || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("without a terminal and --yes: %v", err)
	}
	b.p.interactive, b.p.in = true, strings.NewReader("no\n")
	if _, err := b.try("-f", path); err == nil || !strings.Contains(err.Error(), "nothing was sent") {
		t.Errorf("after no: %v", err)
	}
	if b.spy.sent != 0 {
		t.Fatalf("%d requests were sent without consent", b.spy.sent)
	}
	b.p.in = strings.NewReader("y\n")
	if _, err := b.try("-f", path); err != nil || b.spy.sent != 1 {
		t.Errorf("after yes: %v, %d requests", err, b.spy.sent)
	}
}

func TestTryTellsWhatARefusedLoginComesTo(t *testing.T) {
	b := newBench(t)
	b.hide("not-the-password-7331")
	path := b.file("up42.yaml", strings.ReplaceAll(up42Manifest, providersim.UP42Password, "not-the-password-7331"))
	got, err := b.try("--yes", "-f", path)
	if err == nil || conclude(&bytes.Buffer{}, err) != exitRefused {
		t.Errorf("got %v", err)
	}
	sameAs(t, "login-refused", got)
}

func TestTryAsksForWhatNoSecretHolds(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.UP42Password)
	_, manifest, _ := strings.Cut(up42Manifest, "---")
	b.p.interactive, b.p.in = true, strings.NewReader("y\n")
	b.d.password = providersim.UP42Password
	got, err := b.try("-f", b.file("up42.yaml", manifest), "--credential", "username="+providersim.UP42Username)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "in the cluster, the credential Secret \"up42-login\" needs the label") {
		t.Errorf("it does not say what the Secret must be like:\n%s", got)
	}
}

func TestTryTakesCredentialsFromFilesInputAndEnvironment(t *testing.T) {
	_, manifest, _ := strings.Cut(up42Manifest, "---")
	for name, give := range map[string]func(*bench) []string{
		"a file": func(b *bench) []string { return []string{"password=@" + b.file("pw", providersim.UP42Password+"\n")} },
		"the standard input": func(b *bench) []string {
			b.p.in = strings.NewReader(providersim.UP42Password + "\n")
			return []string{"password=-"}
		},
		"an environment variable": func(b *bench) []string {
			b.t.Setenv("MY_PW", providersim.UP42Password)
			return []string{"password=env:MY_PW"}
		},
		"the variable that is ours": func(b *bench) []string {
			b.t.Setenv("PROVIDERTOKEN_CREDENTIAL_PASSWORD", providersim.UP42Password)
			return nil
		},
		"the Secret with a placeholder": func(b *bench) []string {
			b.t.Setenv("PROVIDERTOKEN_CREDENTIAL_PASSWORD", providersim.UP42Password)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.hide(providersim.UP42Password)
			content := manifest
			if strings.Contains(name, "placeholder") {
				content = strings.ReplaceAll(up42Manifest, providersim.UP42Password, "replace-me")
			}
			args := []string{"--yes", "-f", b.file("up42.yaml", content), "--credential", "username=" + providersim.UP42Username}
			for _, c := range give(b) {
				args = append(args, "--credential", c)
			}
			if _, err := b.try(args...); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTryTakesNoSecretFromTheCommandLine(t *testing.T) {
	b := newBench(t)
	b.hide("on-the-command-line-4242")
	_, err := b.try("--yes", "-f", b.file("up42.yaml", up42Manifest), "--credential", "password=on-the-command-line-4242")
	if err == nil || !strings.Contains(err.Error(), "password=@FILE") || b.spy.sent != 0 {
		t.Errorf("got %v after %d requests", err, b.spy.sent)
	}
}

const genericManifest = `
apiVersion: providertoken.dev/v1alpha1
kind: TokenProvider
metadata: {name: crm}
spec:
  tokenURL: https://{generic}/token
  clientAuthentication: SecretPost
  scopes: [a]
  caBundle: |
    {ca}
---
apiVersion: v1
kind: Secret
metadata:
  name: crm-client
  labels: {providertoken.dev/credentials-for: TokenProvider.crm}
  annotations: {providertoken.dev/allowed-hosts: "{allowed}"}
stringData:
  client_id: "` + providersim.GenericClientID + `"
  client_secret: "` + providersim.GenericClientSecret + `"
---
apiVersion: providertoken.dev/v1alpha1
kind: ProviderToken
metadata: {name: crm-token}
spec:
  providerRef: {kind: TokenProvider, name: crm}
  credentials: {secretName: crm-client}
`

func TestTrySendsCredentialsOnlyWhereTheirSecretAllowsIt(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.GenericClientSecret)
	path := b.file("crm.yaml", strings.ReplaceAll(genericManifest, "{allowed}", "elsewhere.example.com"))
	if _, err := b.try("-f", path); err == nil || !strings.Contains(err.Error(), "allowed-hosts") || b.spy.sent != 0 {
		t.Fatalf("got %v after %d requests", err, b.spy.sent)
	}
	path = b.file("crm.yaml", strings.ReplaceAll(genericManifest, "{allowed}", "{generic}"))
	got, err := b.try("-f", path)
	if err != nil {
		t.Fatal(err)
	}
	sameAs(t, "own-provider", got)
	if !b.spy.trusted.PublicOnly {
		t.Error("a definition that a namespace wrote may reach private addresses")
	}
}

func TestTrySendsGivenCredentialsOnlyWhereItsUserAllowsIt(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.GenericClientSecret)
	parts := strings.Split(genericManifest, "---")
	path := b.file("crm.yaml", parts[0]+"---"+parts[2])
	t.Setenv("PROVIDERTOKEN_CREDENTIAL_CLIENT_SECRET", providersim.GenericClientSecret)
	args := []string{"-f", path, "--credential", "client_id=" + providersim.GenericClientID}
	if _, err := b.try(args...); err == nil || !strings.Contains(err.Error(), "--allow-host "+b.sim.Generic.Address()) || b.spy.sent != 0 {
		t.Fatalf("got %v after %d requests", err, b.spy.sent)
	}
	if _, err := b.try(append(args, "--allow-host", b.sim.Generic.Address())...); err != nil {
		t.Error(err)
	}
}

func TestTryReachesPrivateAddressesOnlyByFlag(t *testing.T) {
	b := newBench(t)
	b.exchanger = false // the command's own client
	b.hide(providersim.GenericClientSecret)
	path := b.file("crm.yaml", strings.ReplaceAll(genericManifest, "{allowed}", "{generic}"))
	got, err := b.try("-f", path)
	if err == nil || !strings.Contains(got, "a loopback address, which is refused") || b.sim.Generic.Count(providersim.KindClientCredentials) != 0 {
		t.Errorf("got %v\n%s", err, got)
	}
	if _, err := b.try("-f", path, "--allow-network", "127.0.0.0/8"); err != nil {
		t.Error(err)
	}
}

func TestTryHidesASecretThatAProviderRepeats(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.GenericClientSecret)
	path := b.file("crm.yaml", strings.ReplaceAll(genericManifest, "{allowed}", "{generic}"))
	echo, err := json.Marshal(map[string]any{
		"error":             "invalid_client",
		"error_description": fmt.Sprintf("client_secret=%s is wrong, and so is \x1b[31mall else\x1b[0m", providersim.GenericClientSecret),
		"debug":             map[string]any{"sent": providersim.GenericClientSecret},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.sim.Generic.Next(providersim.JSON(401, string(echo), providersim.Header{Name: "WWW-Authenticate", Value: "Basic realm=\"" + providersim.GenericClientSecret + "\""}))
	got, err := b.try("-f", path)
	if err == nil {
		t.Error("a refusal is no success")
	}
	if strings.Contains(got, "\x1b") {
		t.Error("what a provider sent steers the terminal")
	}
	sameAs(t, "client-refused", got)
}

func TestTryTellsWhenAThrottledHostIsAskedAgain(t *testing.T) {
	b := newBench(t)
	path := b.file("crm.yaml", strings.ReplaceAll(genericManifest, "{allowed}", "{generic}"))
	b.sim.Generic.Next(providersim.Status(429, providersim.RetryAfter("120")))
	got, err := b.try("-f", path)
	if err == nil {
		t.Error("a throttled request is no success")
	}
	sameAs(t, "throttled", got)
}

const issuerManifest = `
apiVersion: providertoken.dev/v1alpha1
kind: ClusterTokenProvider
metadata: {name: sso}
spec:
  issuerURL: {issuer}
  clientAuthentication: SecretBasic
  caBundle: |
    {ca}
---
apiVersion: v1
kind: Secret
metadata:
  name: sso-client
  labels: {providertoken.dev/credentials-for: ClusterTokenProvider.sso}
stringData:
  client_id: "` + providersim.GenericClientID + `"
  client_secret: "` + providersim.GenericClientSecret + `"
---
apiVersion: providertoken.dev/v1alpha1
kind: ProviderToken
metadata: {name: sso-token}
spec:
  providerRef: {kind: ClusterTokenProvider, name: sso}
  credentials: {secretName: sso-client}
`

func TestTryAsksAnIssuerWhereItsTokenEndpointIs(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.GenericClientSecret)
	metadata := func(endpoint string) {
		b.sim.Generic.SetDocument("/realm/.well-known/openid-configuration",
			fmt.Sprintf(`{"issuer": %q, "token_endpoint": %q}`, b.sim.Generic.IssuerURL(), endpoint))
	}
	path := b.file("sso.yaml", issuerManifest)
	metadata(b.sim.Generic.TokenURL())
	if _, err := b.try("-f", path); err != nil {
		t.Error(err)
	}
	// Nobody vouches for another host than the issuer's.
	metadata("https://" + b.sim.UP42.Address() + "/token")
	if _, err := b.try("-f", path); err == nil || !strings.Contains(err.Error(), "allowed-hosts") {
		t.Errorf("got %v", err)
	}
	if calls := len(b.sim.UP42.Calls()); calls != 0 {
		t.Errorf("credentials went to a host that nobody vouches for: %d calls", calls)
	}
}

func TestTryDoesNotSpendARefreshTokenByAccident(t *testing.T) {
	b := newBench(t)
	manifest := strings.NewReplacer("clientAuthentication: SecretPost\n  scopes: [a]", "grant: RefreshToken\n  clientAuthentication: SecretPost",
		"{allowed}", "{generic}", "stringData:\n", "stringData:\n  refresh_token: the-only-one-1234567\n").Replace(genericManifest)
	b.hide("the-only-one-1234567", "the-next-one-7654321")
	path := b.file("crm.yaml", manifest)
	if _, err := b.try("-f", path); err == nil || !strings.Contains(err.Error(), "--keep-refresh-token-in") || b.spy.sent != 0 {
		t.Fatalf("got %v after %d requests", err, b.spy.sent)
	}
	b.sim.Generic.Next(providersim.JSON(200, `{"access_token": "an-access-token-0", "expires_in": 600, "refresh_token": "the-next-one-7654321"}`))
	keep := filepath.Join(b.dir, "next")
	if _, err := b.try("-f", path, "--keep-refresh-token-in", keep); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(keep)
	if err != nil || string(kept) != "the-next-one-7654321\n" {
		t.Errorf("kept %q, %v", kept, err)
	}
	if info, err := os.Stat(keep); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others can read it: %v, %v", info, err)
	}
	if _, err := b.try("-f", path, "--keep-refresh-token-in", keep); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("the successor would be overwritten: %v", err)
	}
}

func TestTryMakesNoCredentials(t *testing.T) {
	b := newBench(t)
	_, err := b.try("--yes", "-f", filepath.Join("..", "..", "config", "samples", "spatiafi-provisioned.yaml"))
	if err == nil || !strings.Contains(err.Error(), "kubectl providertoken provision") || b.spy.sent != 0 {
		t.Errorf("got %v after %d requests", err, b.spy.sent)
	}
}

func TestTryShowsASignedAssertionWithoutItsSignature(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.SpatiaFiClientSecret)
	got, err := b.try("-f", b.file("spatiafi.yaml", `
apiVersion: v1
kind: Secret
metadata:
  name: app
  labels: {providertoken.dev/credentials-for: SpatiaFi}
stringData: {client_id: `+providersim.SpatiaFiClientID+`, client_secret: `+providersim.SpatiaFiClientSecret+`}
---
apiVersion: providertoken.dev/v1alpha1
kind: ProviderToken
metadata: {name: spatiafi}
spec:
  providerRef: {name: SpatiaFi}
  credentials: {secretName: app}
  refresh: {minimumLead: 5m}
`))
	if err != nil {
		t.Fatal(err)
	}
	sameAs(t, "assertion", got)
}

func TestTryShowsTheRequestAloneAndSendsNothing(t *testing.T) {
	b := newBench(t)
	b.hide(providersim.UP42Password, providersim.UP42Username)
	got, err := b.try("--dry-run", "-f", b.file("up42.yaml", up42Manifest))
	if err != nil || b.spy.sent != 0 {
		t.Errorf("got %v after %d requests", err, b.spy.sent)
	}
	if strings.Contains(got, "Answer") || !strings.Contains(got, "grant_type = password") {
		t.Errorf("got\n%s", got)
	}
}

func TestTryShowsNothingOfAnAnswerThatMayBeABareToken(t *testing.T) {
	b := newBench(t)
	b.hide("just-a-token")
	path := b.file("crm.yaml", strings.ReplaceAll(genericManifest, "{allowed}", "{generic}"))
	b.sim.Generic.Next(providersim.Answer(200, "text/plain", "just-a-token"))
	if got, err := b.try("-f", path); err == nil || !strings.Contains(got, "‹12 bytes that are neither") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestTryShowsOfARedirectOnlyWhereTo(t *testing.T) {
	b := newBench(t)
	b.hide("sso-ticket")
	path := b.file("crm.yaml", strings.ReplaceAll(genericManifest, "{allowed}", "{generic}"))
	b.sim.Generic.Next(providersim.Redirect("https://user:sso-ticket@elsewhere.example.com/login?ticket=sso-ticket#sso-ticket"))
	if got, err := b.try("-f", path); err == nil || !strings.Contains(got, "Location: https://elsewhere.example.com/login\n") {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestTryDoesNotSendAPlaceholder(t *testing.T) {
	b := newBench(t)
	path := b.file("up42.yaml", strings.ReplaceAll(up42Manifest, providersim.UP42Password, "replace-me"))
	if _, err := b.try("--yes", "-f", path); err == nil || !strings.Contains(err.Error(), "--credential password=@FILE") || b.spy.sent != 0 {
		t.Errorf("got %v after %d requests", err, b.spy.sent)
	}
}
