package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/providertoken/operator/internal/guide"
	"github.com/providertoken/operator/internal/provider"
)

const initHelp = `Write the credential Secret and the ProviderToken for a provider of the catalog. What the flags leave open is asked
for on a terminal; without one, everything that has no default must be given.

The Secret holds the credentials as they are: seal it before it goes into Git. With --without-values it holds
placeholders. To seal without a file in between:

  kubectl providertoken init UP42 --print secret | kubeseal --format yaml > up42-credentials.yaml
  kubectl providertoken init UP42 --print token > up42.yaml`

type initCommand struct {
	p             *plugin
	try           *tryCommand // knows how credentials are given
	order         guide.Order
	method        string
	credentials   []string
	directory     string
	print         string
	withoutValues bool
	force         bool
	asked         *bufio.Reader
}

func newInitCommand(p *plugin) *cobra.Command {
	c := &initCommand{p: p, try: &tryCommand{p: p}}
	cmd := &cobra.Command{
		Use: "init PROVIDER", GroupID: groupWrite,
		Short: "Write the Secret and the ProviderToken for a provider of the catalog",
		Long:  initHelp,
		Example: `  kubectl providertoken init UP42
  kubectl providertoken init UP42 --name maps --credential username=me@example.com --credential password=@pw --out deploy
  kubectl providertoken init Keycloak --method SecretBasic --parameter host=sso.example.com --parameter realm=corp --without-values`,
		ValidArgsFunction: p.completeProvider,
		RunE:              c.run,
	}
	f := cmd.Flags()
	f.StringVar(&c.order.Name, "name", "", "name of the ProviderToken; the provider's when left out")
	f.StringVar(&c.order.SecretName, "secret-name", "", "name of the credential Secret; NAME-credentials when left out")
	f.StringVar(&c.order.TargetName, "target-name", "", "name of the Secret with the token; NAME-token when left out")
	f.StringVar(&c.method, "method", "", "way in, where the provider has several")
	f.StringToStringVar(&c.order.Parameters, "parameter", nil, "parameter of the provider: NAME=VALUE")
	f.StringSliceVar(&c.order.Scopes, "scope", nil, "scope to ask for; the provider's own when left out")
	f.StringArrayVar(&c.credentials, "credential", nil, "a key of the Secret: KEY=@FILE, KEY=-, KEY=env:VARIABLE (see try --help)")
	f.StringVar(&c.directory, "out", "", "directory to write SECRET.yaml and NAME.yaml into; the standard output when left out")
	f.StringVar(&c.print, "print", "both", "what is written: both, secret or token")
	f.BoolVar(&c.withoutValues, "without-values", false, "write placeholders in place of credentials")
	f.BoolVar(&c.force, "force", false, "overwrite files that exist")
	_ = cmd.RegisterFlagCompletionFunc("print", cobra.FixedCompletions([]string{"both", "secret", "token"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *initCommand) run(_ *cobra.Command, args []string) error {
	catalog, err := c.p.catalog()
	if err != nil {
		return err
	}
	switch {
	case len(args) != 1:
		return misuse("init needs the name of one provider: %s", strings.Join(catalog.Names(), ", "))
	case !slices.Contains([]string{"both", "secret", "token"}, c.print):
		return misuse("--print %s: use both, secret or token", c.print)
	}
	if _, known := catalog.Get(args[0]); !known {
		return c.p.unknownProvider(catalog, args[0])
	}
	entry, err := guide.Read(catalog, args[0])
	if err != nil {
		return err
	}
	way, err := c.chooseWay(entry)
	if err != nil {
		return err
	}
	c.order.Namespace = *c.p.flags.Namespace
	if err := c.fill(entry, way); err != nil {
		return err
	}
	if c.print != "token" && !c.withoutValues {
		if err := c.collect(way); err != nil {
			return err
		}
	}
	return c.write(way)
}

func (c *initCommand) chooseWay(entry guide.Entry) (guide.Way, error) {
	names := make([]string, 0, len(entry.Ways))
	for _, w := range entry.Ways {
		names = append(names, w.Method)
	}
	if c.method == "" && len(entry.Ways) > 1 {
		if !c.p.interactive {
			return guide.Way{}, misuse("%s has several ways in: choose one by --method: %s", entry.Name, strings.Join(names, ", "))
		}
		for _, w := range entry.Ways {
			c.p.say("  %-18s %s\n", w.Method, strings.Join(w.SampleKeys(), ", "))
		}
		var err error
		if c.method, err = c.ask("way in", names, names[0]); err != nil {
			return guide.Way{}, err
		}
	}
	i := slices.Index(names, c.method)
	if i < 0 {
		if len(entry.Ways) == 1 {
			return guide.Way{}, misuse("%s has one way in: leave --method out", entry.Name)
		}
		return guide.Way{}, misuse("%s has no way in %q, only %s", entry.Name, c.method, strings.Join(names, ", "))
	}
	return entry.Ways[i], nil
}

// fill settles names and parameters, as the operator would judge them.
func (c *initCommand) fill(entry guide.Entry, way guide.Way) error {
	given := c.order.Parameters
	if given == nil {
		given = map[string]string{}
	}
	for _, p := range way.Definition.Parameters {
		if _, found := given[p.Name]; found || p.Default != "" && !c.p.interactive {
			continue
		}
		if !c.p.interactive {
			return misuse("the parameter %s is missing (%s): --parameter %s=VALUE; %s", p.Name, p.Description, p.Name, plainWords(way.Allowed(p)))
		}
		var choices []string
		if len(p.Values) > 0 {
			choices = guide.Choices(p)
		}
		c.p.say("%s: %s; %s\n", p.Name, p.Description, plainWords(way.Allowed(p)))
		answer, err := c.ask(p.Name, choices, p.Default)
		if err != nil {
			return err
		}
		if answer != p.Default {
			given[p.Name] = answer
		}
	}
	return c.check(entry, way, given)
}

// check lets the definition judge the parameters, and Kubernetes the names.
func (c *initCommand) check(entry guide.Entry, way guide.Way, given map[string]string) error {
	// A sample names the method where its keys alone would lead to another.
	if method, named := way.Parameters["method"]; named {
		given["method"] = method
	}
	resolved, err := entry.Definition.Resolve(withMethod(given, way), func(string) bool { return true })
	if err != nil {
		return misuse("%w", err)
	}
	c.order.Parameters = given
	if !resolved.NeedsDiscovery() {
		c.order.Host = resolved.Host()
	}
	for flag, name := range map[string]string{"--name": c.order.Name, "--secret-name": c.order.SecretName, "--target-name": c.order.TargetName, "-n": c.order.Namespace} {
		if name != "" && len(validation.IsDNS1123Subdomain(name)) > 0 {
			return misuse("%s %q is no name of an object; use lower-case letters, digits, '-' and '.'", flag, name)
		}
	}
	return nil
}

func withMethod(parameters map[string]string, way guide.Way) map[string]string {
	all := maps.Clone(parameters)
	if way.Method != "" {
		all["method"] = way.Method
	}
	return all
}

func plainWords(markdown string) string { return strings.ReplaceAll(markdown, "`", "") }

// ask asks for what is no secret.
func (c *initCommand) ask(what string, choices []string, otherwise string) (string, error) {
	if c.asked == nil {
		c.asked = bufio.NewReader(c.p.in)
	}
	for range 3 {
		hint := ""
		if otherwise != "" {
			hint = " [" + otherwise + "]"
		}
		c.p.say("%s%s: ", what, hint)
		line, err := c.asked.ReadString('\n')
		if err != nil && (!errors.Is(err, io.EOF) || line == "") {
			return "", misuse("no answer came for %s", what)
		}
		answer := strings.TrimSpace(line)
		if answer == "" {
			answer = otherwise
		}
		if answer != "" && (len(choices) == 0 || slices.Contains(choices, answer)) {
			return answer, nil
		}
		if len(choices) > 0 {
			c.p.say("one of %s\n", strings.Join(choices, ", "))
		}
	}
	return "", misuse("no usable answer came for %s", what)
}

// collect gets the values of the Secret's keys.
func (c *initCommand) collect(way guide.Way) error {
	c.try.credentials = c.credentials
	given, err := c.try.given()
	if err != nil {
		return err
	}
	c.order.Values = map[string]string{}
	keys := way.SampleKeys()
	for name, value := range given {
		if !slices.Contains(keys, name) && !slices.Contains(way.Resolved.RequiredCredentials(), name) {
			if _, fromFlag := cutCredential(c.credentials, name); !fromFlag {
				continue // an environment variable for something else
			}
			return misuse("the provider wants no %s, only %s", name, strings.Join(keys, ", "))
		}
		c.order.Values[name] = value.Reveal()
	}
	for _, key := range keys {
		if c.known(way, key) {
			continue
		}
		if !c.p.interactive {
			return misuse("the credential %s is missing: --credential %s=@FILE, or --without-values for a placeholder", key, key)
		}
		if c.order.Values[key], err = c.askCredential(key); err != nil {
			return err
		}
	}
	return nil
}

func cutCredential(flags []string, name string) (string, bool) {
	for _, f := range flags {
		if value, found := strings.CutPrefix(f, name+"="); found {
			return value, true
		}
	}
	return "", false
}

// known tells whether a key was given, under its own name or that of its credential.
func (c *initCommand) known(way guide.Way, key string) bool {
	if c.order.Values[key] != "" {
		return true
	}
	for _, name := range way.Resolved.RequiredCredentials() {
		if c.order.Values[name] != "" && slices.Contains(way.Definition.Keys(name), key) {
			return true
		}
	}
	return false
}

func (c *initCommand) askCredential(key string) (string, error) {
	switch {
	case harmless(key) || slices.Contains([]string{"project_id", "account_id", "consumer_key"}, key):
		return c.ask(key, nil, "")
	case strings.Contains(key, ".") || key == provider.CredPrivateKey || key == provider.CredCertificate:
		path, err := c.ask("file with "+key, nil, "")
		if err != nil {
			return "", err
		}
		content, err := os.ReadFile(path) //nolint:gosec // the file that the person names
		if err != nil {
			return "", misuse("reading %s: %w", key, err)
		}
		return withoutEnd(string(content)), nil
	}
	return c.p.Password(key + ": ")
}

// write writes the manifests.
func (c *initCommand) write(way guide.Way) error {
	secret, err := way.SecretManifest(c.order)
	if err != nil {
		return err
	}
	pt := way.TokenManifest(c.order)
	if c.directory != "" {
		return c.writeFiles(way, secret, pt)
	}
	texts := map[string]string{"secret": secret, "token": pt, "both": secret + "---\n" + pt}
	if _, err := io.WriteString(c.p.Out(), texts[c.print]); err != nil {
		return err
	}
	if c.print == "both" {
		c.warn("the Secret")
	}
	return nil
}

func (c *initCommand) writeFiles(way guide.Way, secret, pt string) error {
	o := c.order
	if o.Name == "" {
		o.Name = way.ObjectName()
	}
	if o.SecretName == "" {
		o.SecretName = o.Name + "-credentials"
	}
	files := map[string]string{}
	if c.print != "token" {
		files[filepath.Join(c.directory, o.SecretName+".yaml")] = secret
	}
	if c.print != "secret" {
		files[filepath.Join(c.directory, o.Name+".yaml")] = pt
	}
	if err := os.MkdirAll(c.directory, 0o750); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
		if c.force {
			how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		}
		file, err := os.OpenFile(path, how, 0o600) //nolint:gosec // the directory that the person names
		if errors.Is(err, os.ErrExist) {
			return misuse("%s exists already; use --force to overwrite it", path)
		}
		if err != nil {
			return err
		}
		_, err = file.WriteString(files[path])
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(c.p.Out(), path); err != nil {
			return err
		}
	}
	if c.print != "token" {
		c.warn(filepath.Join(c.directory, o.SecretName+".yaml"))
	}
	return nil
}

func (c *initCommand) warn(what string) {
	if c.withoutValues {
		c.p.say("%s holds placeholders: replace them before you apply it\n", what)
		return
	}
	c.p.say("%s holds credentials as they are: seal it, and do not commit it\n", what)
}
