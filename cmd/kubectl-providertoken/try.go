package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/manifest"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/source"
	"github.com/providertoken/operator/internal/token"
	"github.com/providertoken/operator/internal/trial"
)

const tryHelp = `Ask the provider for a token from here, once, with the operator's own code, and tell all about it: what is sent,
what comes back, how each field is read, what the operator would decide, and when it would refresh. Secrets are
hidden; the token is not kept, and nothing is written into a cluster.

With -f, the ProviderToken and whatever it refers to come out of files, and no cluster is needed. Otherwise they
are read from the cluster, with your own rights.

A try is a real request: a wrong password counts at the provider, and may lock the account. So it asks before it
logs in (--yes answers), and refuses what cannot be undone: a refresh token that works once, and provisioning.

Credentials that no Secret holds are asked for on a terminal, or given:
  --credential password=@FILE     the content of a file, without its last line end
  --credential password=-         the standard input, or what is typed without an echo
  --credential password=env:NAME  an environment variable
  --credential client_id=VALUE    what is no secret may be written as it is
An environment variable such as PROVIDERTOKEN_CREDENTIAL_PASSWORD is used by itself.`

type tryCommand struct {
	p           *plugin
	files       []string
	credentials []string
	hosts       []string
	networks    []string
	proxy       string
	keep        string
	format      string
	yes, dry    bool
	// exchanger is made from the flags; tests bring one.
	exchanger source.Exchanger
}

func newTryCommand(p *plugin) *cobra.Command { return (&tryCommand{p: p}).command() }

func (t *tryCommand) command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "try [NAME] [-f FILE]...", GroupID: groupSee,
		Short: "Ask the provider for a token from here, and tell all about it but secrets",
		Long:  tryHelp,
		Example: `  kubectl providertoken try up42-token
  kubectl providertoken try -f up42.yaml --credential username=me@example.com
  kubectl providertoken try -f provider.yaml -f token.yaml crm-token --allow-host crm.example.com -o json`,
		ValidArgsFunction: t.p.completeOneName,
		RunE:              t.run,
	}
	f := cmd.Flags()
	f.StringArrayVarP(&t.files, "filename", "f", nil, "file, directory or - with the ProviderToken and what it refers to")
	f.StringArrayVar(&t.credentials, "credential", nil, "a credential: NAME=@FILE, NAME=-, NAME=env:VARIABLE")
	f.StringArrayVar(&t.hosts, "allow-host", nil, "host that given credentials may be sent to, where neither the catalog nor a ClusterTokenProvider vouches for it")
	f.StringArrayVar(&t.networks, "allow-network", nil, "network that may be reached although it is private or loopback, such as 10.1.0.0/16")
	f.StringVar(&t.proxy, "egress-proxy", "", "proxy to reach the provider by; the environment's is not used")
	f.StringVar(&t.keep, "keep-refresh-token-in", "", "try a refresh token that is the credential itself, and write its successor into this new file")
	f.StringVarP(&t.format, "output", "o", "text", "text or json")
	f.BoolVarP(&t.yes, "yes", "y", false, "log in without asking")
	f.BoolVar(&t.dry, "dry-run", false, "show the request, and send nothing")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (t *tryCommand) run(cmd *cobra.Command, args []string) error {
	switch {
	case t.format != "text" && t.format != "json":
		return misuse("there is no output %q; use text or json", t.format)
	case len(args) > 1:
		return misuse("try takes one name, and got %d; see try --help", len(args))
	case len(args) == 0 && len(t.files) == 0:
		return misuse("try needs the name of a ProviderToken in the cluster, or a file: try NAME, or try -f FILE")
	}
	tr, pt, err := t.prepare(cmd.Context(), args)
	if err != nil {
		return err
	}
	plan, err := tr.Prepare(cmd.Context(), pt)
	if err != nil {
		return t.explain(err, pt)
	}
	if t.dry {
		report, err := plan.Describe()
		if err != nil {
			return err
		}
		return t.print(report)
	}
	if err := t.confirm(plan); err != nil {
		return err
	}
	report, err := plan.Send(cmd.Context())
	if err != nil {
		return err
	}
	if err := t.print(report); err != nil {
		return err
	}
	if report.Decision != nil && !report.Decision.Success {
		return &failure{exitRefused, fmt.Errorf("there is no token: %s", report.Decision.Reason)}
	}
	return nil
}

// prepare finds the ProviderToken, and where everything else is read from.
func (t *tryCommand) prepare(ctx context.Context, args []string) (*trial.Trial, *v1alpha1.ProviderToken, error) {
	catalog, err := t.p.catalog()
	if err != nil {
		return nil, nil, err
	}
	tr := &trial.Trial{
		Clock: t.p.clock, NewID: uuid.NewString, AllowedHosts: strings.Join(t.hosts, ","),
		Finder: source.Finder{Catalog: catalog, ClusterProviders: true, InlineProviders: true},
	}
	if tr.Exchanger, err = t.client(); err != nil {
		return nil, nil, err
	}
	if tr.Keep, err = t.keeper(); err != nil {
		return nil, nil, err
	}
	var pt *v1alpha1.ProviderToken
	if len(t.files) > 0 {
		pt, err = t.fromFiles(tr, args)
	} else {
		pt, err = t.fromCluster(ctx, tr, args[0])
	}
	if err != nil {
		return nil, nil, err
	}
	if tr.Given, err = t.given(); err != nil {
		return nil, nil, err
	}
	if t.p.interactive {
		tr.Ask = func(name string) (token.Secret, error) {
			text, err := t.p.Password(fmt.Sprintf("%s for %s: ", name, pt.Name))
			return token.NewSecret(text), err
		}
	}
	return tr, pt, nil
}

// client reaches providers as the operator does: by no proxy but the one that is named,
// and no private address that nobody allowed.
func (t *tryCommand) client() (source.Exchanger, error) {
	if t.exchanger != nil {
		return t.exchanger, nil
	}
	o := exchange.Options{UserAgent: userAgent}
	for _, n := range t.networks {
		prefix, err := netip.ParsePrefix(n)
		if err != nil {
			return nil, misuse("--allow-network %s is not a network; write it as 10.1.0.0/16", n)
		}
		o.AllowNetworks = append(o.AllowNetworks, prefix)
	}
	if t.proxy != "" {
		proxy, err := url.Parse(t.proxy)
		if err != nil {
			return nil, misuse("--egress-proxy is not a URL") // it may hold a password
		}
		o.EgressProxy = proxy
	}
	return exchange.New(o)
}

// keeper writes the successor of a refresh token into a file that nobody else reads, and
// which is made before the request is sent: a successor that cannot be kept is lost.
func (t *tryCommand) keeper() (func(token.Secret) error, error) {
	if t.keep == "" {
		return nil, nil
	}
	if len(t.files) == 0 {
		return nil, misuse("the operator keeps the refresh token of a ProviderToken in the cluster in a record of its own, and a try would spend it behind the operator's back; use -f with a refresh token made for the purpose")
	}
	if _, err := os.Lstat(t.keep); err == nil {
		return nil, misuse("%s exists already; name a new file", t.keep)
	}
	return func(s token.Secret) error {
		file, err := os.OpenFile(t.keep, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = file.WriteString(s.Reveal() + "\n")
		return errors.Join(err, file.Sync(), file.Close())
	}, nil
}

func (t *tryCommand) fromFiles(tr *trial.Trial, args []string) (*v1alpha1.ProviderToken, error) {
	files, err := t.p.read(t.files)
	if err != nil {
		return nil, err
	}
	var documents []manifest.Document
	for _, f := range files {
		found, broken := manifest.Read(f.Name, f.Content)
		if len(broken) > 0 {
			return nil, misuse("%w; \"kubectl providertoken lint\" tells more", broken[0])
		}
		documents = append(documents, found...)
	}
	shelf := manifest.NewShelf(documents)
	tr.Finder.Objects, tr.Finder.Secrets = shelf, shelf
	var names []string
	var chosen *manifest.Document
	for i := range documents {
		d := &documents[i]
		if !d.Is(v1alpha1.GroupVersion.Group, "ProviderToken") {
			continue
		}
		names = append(names, d.Object.GetName())
		if len(args) == 0 || d.Object.GetName() == args[0] {
			chosen = d
		}
	}
	switch {
	case len(names) == 0:
		return nil, misuse("there is no ProviderToken in %s", strings.Join(t.files, ", "))
	case len(args) == 0 && len(names) > 1:
		return nil, misuse("there are %d ProviderTokens in the files: name one of %s", len(names), strings.Join(names, ", "))
	case chosen == nil:
		return nil, misuse("there is no ProviderToken %q in the files, only %s", args[0], strings.Join(names, ", "))
	}
	pt := &v1alpha1.ProviderToken{}
	if err := chosen.As(pt); err != nil {
		return nil, misuse("%w; \"kubectl providertoken lint\" tells more", err)
	}
	if pt.Spec.ProviderRef == nil && pt.Spec.Provider == nil {
		return nil, misuse("ProviderToken %q has neither providerRef nor provider; \"kubectl providertoken lint\" tells more", pt.Name)
	}
	return pt, nil
}

func (t *tryCommand) fromCluster(ctx context.Context, tr *trial.Trial, name string) (*v1alpha1.ProviderToken, error) {
	c, err := t.p.cluster()
	if err != nil {
		return nil, err
	}
	pt, err := c.token(ctx, name)
	if err != nil {
		return nil, err
	}
	tr.Finder.Objects, tr.Finder.Secrets = allowed{c}, allowed{c}
	return pt, nil
}

// allowed reads with the rights of the person who tries, and says which are missing.
type allowed struct{ *cluster }

func (a allowed) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	err := a.cluster.Get(ctx, key, object, options...)
	if err == nil || apierrors.IsNotFound(err) {
		return err
	}
	kind := fmt.Sprintf("%T", object)
	if gvks, _, err := a.Scheme().ObjectKinds(object); err == nil && len(gvks) > 0 {
		kind = gvks[0].Kind
	}
	name := strings.TrimPrefix(key.String(), "/")
	explained := a.explain(err, fmt.Sprintf("reading %s %s", kind, name))
	if apierrors.IsForbidden(err) && kind == "Secret" {
		return fmt.Errorf("%w; or try without it: get the ProviderToken by kubectl get -o yaml, and use try -f with --credential", explained)
	}
	return explained
}

// given are the credentials of flags and environment.
func (t *tryCommand) given() (provider.Credentials, error) {
	all := provider.Credentials{}
	for name, value := range environment() {
		all[name] = token.NewSecret(value)
	}
	fromInput := slices.Contains(t.files, "-")
	for _, flag := range t.credentials {
		name, how, found := strings.Cut(flag, "=")
		if !found || name == "" {
			return nil, misuse("--credential wants NAME=@FILE, NAME=- or NAME=env:VARIABLE")
		}
		if how == "-" {
			if fromInput {
				return nil, misuse("the standard input can be read once: use a file for one of them")
			}
			fromInput = true
		}
		value, err := t.credential(name, how)
		if err != nil {
			return nil, err
		}
		all[name] = token.NewSecret(value)
	}
	return all, nil
}

func (t *tryCommand) credential(name, how string) (string, error) {
	variable, isVariable := strings.CutPrefix(how, "env:")
	file, isFile := strings.CutPrefix(how, "@")
	switch {
	case isFile:
		content, err := os.ReadFile(file) //nolint:gosec // the file that the person names
		if err != nil {
			return "", misuse("reading --credential %s: %w", name, err)
		}
		return withoutEnd(string(content)), nil
	case how == "-" && t.p.interactive:
		return t.p.Password(name + ": ")
	case how == "-":
		content, err := io.ReadAll(io.LimitReader(t.p.in, maxInput))
		if err != nil {
			return "", fmt.Errorf("reading %s from the standard input: %w", name, err)
		}
		return withoutEnd(string(content)), nil
	case isVariable:
		value, found := os.LookupEnv(variable) //nolint:forbidigo // this is where a command reads the environment
		if !found {
			return "", misuse("--credential %s: there is no environment variable %s", name, variable)
		}
		return value, nil
	case !harmless(name):
		return "", misuse("--credential %s: a secret on the command line is seen by everybody on this machine, and kept in the shell's history; write %s=@FILE, %s=- or %s=env:VARIABLE", name, name, name, name)
	}
	return how, nil
}

// harmless claims that a credential is no secret.
func harmless(name string) bool {
	return slices.Contains([]string{provider.CredClientID, provider.CredUsername, provider.CredKeyID}, name)
}

// withoutEnd drops the line end that editors and echo put behind a text. A key in PEM keeps its own.
func withoutEnd(s string) string {
	if strings.HasPrefix(s, "-----BEGIN ") {
		return s
	}
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}

const credentialVariable = "PROVIDERTOKEN_CREDENTIAL_"

// environment are the credentials that environment variables hold, by name.
func environment() map[string]string {
	found := map[string]string{}
	for _, entry := range os.Environ() { //nolint:forbidigo // this is where a command reads the environment
		name, value, _ := strings.Cut(entry, "=")
		if name, ours := strings.CutPrefix(name, credentialVariable); ours && value != "" {
			found[strings.ToLower(name)] = value
		}
	}
	return found
}

// confirm asks before a login, which may lock an account.
func (t *tryCommand) confirm(plan *trial.Plan) error {
	if !plan.Login() || t.yes {
		return nil
	}
	if !t.p.interactive {
		return misuse("this logs in at %s with username and password: a wrong password counts there, and may lock the account; say --yes if that is right", plan.Host())
	}
	t.p.say("This logs in at %s with username and password. A wrong password counts there, and may lock the account.\nLog in? [y/N] ", plan.Host())
	answer, err := bufio.NewReader(t.p.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return misuse("nothing was sent")
	}
	return nil
}

// explain adds to an error before the request what a person at a laptop can do.
func (t *tryCommand) explain(err error, pt *v1alpha1.ProviderToken) error {
	var refusal *trial.RefusalError
	if !errors.As(err, &refusal) {
		return err
	}
	message := refusal.Message
	switch refusal.Reason {
	case v1alpha1.ReasonWaitingForCredentials:
		if len(t.files) > 0 {
			message += ", or bring the credentials along: --credential NAME=@FILE (see try --help)"
		}
	case v1alpha1.ReasonWaitingForProvider:
		if len(t.files) > 0 {
			message += ", or name its file by -f"
		}
	case "":
		if pt.Spec.Credentials != nil && strings.Contains(message, "refresh token") && t.keep == "" && len(t.files) > 0 {
			message += ": --keep-refresh-token-in FILE"
		}
	}
	return fmt.Errorf("nothing was sent: %s", message)
}

func (t *tryCommand) print(r trial.Report) error {
	if t.format == "json" {
		return printJSON(t.p.Out(), r)
	}
	return trial.Text(t.p.Out(), r)
}
