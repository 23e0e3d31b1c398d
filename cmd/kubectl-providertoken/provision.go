package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/provisioning"
	"github.com/providertoken/operator/internal/token"
)

// provision makes credentials from a laptop, for those who seal them into Git.
type provision struct {
	catalog   *provider.Catalog
	exchanger provisioning.Exchanger
	console   console
	clock     clock.PassiveClock
}

const provisionHelp = `Make API credentials with a login, once, and print them as a Secret.

The password is read from the terminal, or from the first line of the standard input.
Nothing is written into a cluster: the manifest goes to the standard output, to be
applied or sealed. It is the only copy; the provider shows the credentials once.

Usage:
  kubectl providertoken provision --username NAME --name SECRET [flags] > secret.yaml

Example:
  kubectl providertoken provision --username me@example.com --name spatiafi-app --namespace imagery |
    kubeseal --format yaml > spatiafi-app-sealed.yaml

Flags:
`

// provisionFlags is what the user says.
type provisionFlags struct {
	provider, username, name, namespace string
}

func (p *provision) run(ctx context.Context, args []string) error {
	f, err := p.parse(args)
	if err != nil {
		return err
	}
	definition, known := p.catalog.Get(f.provider)
	if !known {
		return fmt.Errorf("the catalog has no provider %q; use one of %s", f.provider, strings.Join(p.offering(), ", "))
	}
	password, err := p.console.Password(fmt.Sprintf("Password of %s at %s: ", f.username, f.provider))
	if err != nil {
		return fmt.Errorf("reading the password: %w", err)
	}
	login := provider.Credentials{provider.CredUsername: token.NewSecret(f.username), provider.CredPassword: token.NewSecret(password)}
	step, err := definition.Provision(nil, func(name string) bool { return !login[name].IsZero() })
	if err != nil {
		return err
	}
	made, err := p.make(ctx, step, login)
	if err != nil {
		return err
	}
	return p.print(f, made)
}

func (p *provision) parse(args []string) (provisionFlags, error) {
	var f provisionFlags
	flags := flag.NewFlagSet("provision", flag.ContinueOnError)
	flags.SetOutput(p.console.Err())
	flags.StringVar(&f.provider, "provider", "SpatiaFi", "entry of the catalog: "+strings.Join(p.offering(), ", "))
	flags.StringVar(&f.username, "username", "", "who logs in (required)")
	flags.StringVar(&f.name, "name", "", "name of the Secret (required)")
	flags.StringVar(&f.namespace, "namespace", "", "namespace of the Secret; left out of the manifest when empty")
	flags.Usage = func() {
		_, _ = io.WriteString(p.console.Err(), provisionHelp)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return f, err
		}
		return f, errUsage
	}
	switch {
	case flags.NArg() > 0:
		return f, fmt.Errorf("provision takes flags only, not %q; see --help", flags.Arg(0))
	case f.username == "":
		return f, errors.New("--username is missing; see --help")
	case f.name == "":
		return f, errors.New("--name is missing: the name of the Secret to print; see --help")
	}
	return f, nil
}

// offering lists the entries that make credentials.
func (p *provision) offering() []string {
	var names []string
	for _, name := range p.catalog.Names() {
		if d, _ := p.catalog.Get(name); d.Provisioning != nil {
			names = append(names, name)
		}
	}
	return names
}

// make logs in and makes the credentials. Each request is sent once.
func (p *provision) make(ctx context.Context, step provider.Provisioning, login provider.Credentials) (provider.Credentials, error) {
	trust := exchange.Trust{CABundle: step.Login.CABundle}
	req, err := step.Login.NewRequest(provider.RequestInput{Credentials: login, Now: p.clock.Now(), ID: uuid.NewString()})
	if err != nil {
		return nil, err
	}
	answer, err := p.exchanger.Do(ctx, req, trust)
	if err != nil {
		return nil, fmt.Errorf("logging in at %s: %w", step.Login.Host(), err)
	}
	access, err := step.Login.Decode(req, answer)
	if err != nil {
		return nil, fmt.Errorf("logging in at %s: %w", step.Login.Host(), err)
	}
	made, err := provisioning.Make(ctx, p.exchanger, step, trust, access.Access)
	if provisioning.Lost(err) {
		return nil, fmt.Errorf("making credentials at %s: %w; the provider may have made some that nobody knows now: look at its list, and revoke what is not used, before you run this again", step.Host(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("making credentials at %s: %w", step.Host(), err)
	}
	return made, nil
}

func (p *provision) print(f provisionFlags, made provider.Credentials) error {
	manifest, err := yaml.Marshal(provisioning.Manifest(provisioning.Place{
		Secret:         types.NamespacedName{Namespace: f.namespace, Name: f.name},
		CredentialsFor: v1alpha1.CredentialsForValue(v1alpha1.BuiltinProvider, f.provider),
	}, made))
	if err != nil {
		return err
	}
	if _, err := p.console.Out().Write(manifest); err == nil {
		return nil
	}
	// The provider shows the credentials once: a closed pipe must not lose them.
	if _, err := p.console.Err().Write(manifest); err != nil {
		return fmt.Errorf("the credentials were made, and can be written nowhere: revoke them at the provider: %w", err)
	}
	return errors.New("the standard output is closed; the only copy of the credentials was written to the standard error")
}

// firstLine of a stream, without its end.
func firstLine(in io.Reader) (string, error) {
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || line == "") {
		return "", errors.New("no password came in on the standard input")
	}
	return strings.TrimRight(line, "\r\n"), nil
}
