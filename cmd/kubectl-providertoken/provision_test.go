package main

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/providersim"
)

// desk is a console without a terminal.
type desk struct {
	out      io.Writer
	err      bytes.Buffer
	password string
}

func (d *desk) Out() io.Writer                  { return d.out }
func (d *desk) Err() io.Writer                  { return &d.err }
func (d *desk) Password(string) (string, error) { return d.password, nil }

// closed is a pipe that nobody reads.
type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// laptop is the command at the simulated SpatiaFi.
func laptop(t *testing.T, d *desk) (provision, *providersim.Simulator) {
	t.Helper()
	sim, err := providersim.Start(providersim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sim.Close)
	text, err := os.ReadFile(filepath.Join("..", "..", "internal", "provider", "catalog", "SpatiaFi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	here := strings.ReplaceAll(string(text), "https://auth.spatiafi.com", "https://"+sim.SpatiaFi.Address()) +
		"caBundle: |\n  " + strings.ReplaceAll(sim.CABundle(), "\n", "\n  ") + "\n"
	catalog, err := provider.ReadCatalog(fstest.MapFS{"catalog/SpatiaFi.yaml": {Data: []byte(here)}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := exchange.New(exchange.Options{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return provision{catalog: catalog, exchanger: client, console: d, clock: clock.RealClock{}}, sim
}

func TestProvisionPrintsTheSecretThatTheOperatorWouldMake(t *testing.T) {
	var out bytes.Buffer
	d := &desk{out: &out, password: providersim.SpatiaFiPassword}
	p, sim := laptop(t, d)
	err := p.run(t.Context(), []string{"--username", providersim.SpatiaFiUsername, "--name", "app", "--namespace", "imagery"})
	if err != nil {
		t.Fatal(err)
	}
	var s corev1.Secret
	if err := yaml.UnmarshalStrict(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Kind != "Secret" || s.Name != "app" || s.Namespace != "imagery" || s.Labels["providertoken.dev/credentials-for"] != "SpatiaFi" {
		t.Errorf("printed %s %s/%s with %v", s.Kind, s.Namespace, s.Name, s.Labels)
	}
	made := sim.SpatiaFi.Provisioned()
	if len(made) != 1 || string(s.Data["client_id"]) != made[0] || len(s.Data["client_secret"]) == 0 {
		t.Errorf("printed other credentials than the %d that were made", len(made))
	}
	if d.err.Len() > 0 {
		t.Errorf("said %q", d.err.String())
	}
}

func TestProvisionLosesNothingToAClosedPipe(t *testing.T) {
	d := &desk{out: closed{}, password: providersim.SpatiaFiPassword}
	p, sim := laptop(t, d)
	err := p.run(t.Context(), []string{"--username", providersim.SpatiaFiUsername, "--name", "app"})
	if err == nil || !strings.Contains(err.Error(), "only copy") {
		t.Errorf("%v", err)
	}
	if !strings.Contains(d.err.String(), "client_secret:") || len(sim.SpatiaFi.Provisioned()) != 1 {
		t.Error("the credentials are lost")
	}
}

func TestProvisionSendsNothingTwice(t *testing.T) {
	for name, c := range map[string]struct {
		script  providersim.Script
		message string
	}{
		"a lost answer": {providersim.LoseAnswer(), "look at its list"},
		"a failure":     {providersim.Status(500), "look at its list"},
		"a refusal":     {providersim.Status(403), "refused to make credentials"},
	} {
		var out bytes.Buffer
		d := &desk{out: &out, password: providersim.SpatiaFiPassword}
		p, sim := laptop(t, d)
		sim.SpatiaFi.NextOf(providersim.KindProvision, c.script)
		err := p.run(t.Context(), []string{"--username", providersim.SpatiaFiUsername, "--name", "app"})
		if err == nil || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v", name, err)
		}
		if n := sim.SpatiaFi.Count(providersim.KindProvision); n != 1 || out.Len() > 0 {
			t.Errorf("%s: asked %d times, printed %q", name, n, out.String())
		}
	}
}

func TestProvisionSaysWhatIsMissing(t *testing.T) {
	for message, args := range map[string][]string{
		"--username is missing":     {"--name", "app"},
		"--name is missing":         {"--username", "me"},
		"takes flags only":          {"--username", "me", "--name", "app", "more"},
		`no provider "Nobody"; use`: {"--provider", "Nobody", "--username", "me", "--name", "app"},
		"lack password":             {"--username", "me", "--name", "app"},
	} {
		p, sim := laptop(t, &desk{out: io.Discard})
		if err := p.run(t.Context(), args); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%v: %v", args, err)
		}
		if n := len(sim.SpatiaFi.Calls()); n > 0 {
			t.Errorf("%v: %d requests", args, n)
		}
	}
	d := &desk{out: io.Discard, password: "wrong"}
	p, _ := laptop(t, d)
	if err := p.run(t.Context(), []string{"--username", "me", "--name", "app"}); err == nil || !strings.Contains(err.Error(), "logging in") {
		t.Errorf("%v", err)
	}
}

func TestHelpNamesEveryCommandAndFlag(t *testing.T) {
	var out bytes.Buffer
	d := &desk{out: &out}
	if err := run(t.Context(), []string{"help"}, d); err != nil || !strings.Contains(out.String(), "provision ") {
		t.Errorf("%v: %s", err, out.String())
	}
	if err := run(t.Context(), []string{"provision", "--help"}, d); err != nil || !strings.Contains(d.err.String(), "-username") {
		t.Errorf("%v: %s", err, d.err.String())
	}
	if err := run(t.Context(), []string{"provison"}, d); !errors.Is(err, errUsage) || !strings.Contains(d.err.String(), `no command "provison"`) {
		t.Errorf("%v: %s", err, d.err.String())
	}
	if err := run(t.Context(), nil, d); !errors.Is(err, errUsage) {
		t.Errorf("%v", err)
	}
}

func TestAPasswordIsOneLine(t *testing.T) {
	for in, want := range map[string]string{"a b\n": "a b", "a\r\nb": "a", "a": "a"} {
		if got, err := firstLine(strings.NewReader(in)); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := firstLine(strings.NewReader("")); err == nil {
		t.Error("nothing is no password")
	}
}
