package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/internal/guide"
	"github.com/providertoken/operator/internal/provider"
)

const providersHelp = `List the catalog of this version, or tell all about one entry: ways in, parameters, keys of the credential Secret,
and what to apply. The operator in a cluster may be of another version: manager --version lists its catalog.`

type providersCommand struct {
	p      *plugin
	format string
}

func newProvidersCommand(p *plugin) *cobra.Command {
	c := &providersCommand{p: p}
	cmd := &cobra.Command{
		Use: "providers [NAME]", GroupID: groupWrite,
		Short: "List the catalog, or tell about one of its providers",
		Long:  providersHelp,
		Example: `  kubectl providertoken providers
  kubectl providertoken providers UP42
  kubectl providertoken providers SpatiaFi -o yaml`,
		ValidArgsFunction: p.completeProvider,
		RunE:              c.run,
	}
	cmd.Flags().StringVarP(&c.format, "output", "o", "table", "table, json, yaml or name")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml", "name"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// completeProvider offers the names of the catalog.
func (p *plugin) completeProvider(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	catalog, err := p.catalog()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return catalog.Names(), cobra.ShellCompDirectiveNoFileComp
}

// offered is an entry for programs.
type offered struct {
	Name       string              `json:"name"`
	Version    string              `json:"version"`
	Definition provider.Definition `json:"definition"`
	Ways       []offeredWay        `json:"ways"`
}

type offeredWay struct {
	Method string `json:"method,omitempty"`
	// Keys of the credential Secret.
	Keys        []string `json:"keys"`
	Credentials []string `json:"credentials"`
	Hosts       []string `json:"hosts"`
}

func (c *providersCommand) run(_ *cobra.Command, args []string) error {
	catalog, err := c.p.catalog()
	if err != nil {
		return err
	}
	names := catalog.Names()
	switch len(args) {
	case 0:
	case 1:
		if _, known := catalog.Get(args[0]); !known {
			return c.p.unknownProvider(catalog, args[0])
		}
		names = args
	default:
		return misuse("providers takes one name, and got %d; see providers --help", len(args))
	}
	entries := make([]guide.Entry, 0, len(names))
	for _, name := range names {
		e, err := guide.Read(catalog, name)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	switch c.format {
	case "table", "":
		if len(args) == 1 {
			return c.explain(entries[0])
		}
		return c.table(entries)
	case "name":
		_, err := fmt.Fprintln(c.p.Out(), strings.Join(names, "\n"))
		return err
	case "json", "yaml":
		return c.marshal(catalog, entries, len(args) == 1)
	}
	return misuse("there is no output %q; use table, json, yaml or name", c.format)
}

// unknownProvider names the one that may be meant.
func (p *plugin) unknownProvider(catalog *provider.Catalog, name string) error {
	if near := nearest(strings.ToLower(name), lowered(catalog.Names())); near != "" {
		for _, known := range catalog.Names() {
			if strings.EqualFold(known, near) {
				return misuse("the catalog has no provider %q; did you mean %s?", name, known)
			}
		}
	}
	return misuse("the catalog has no provider %q, only %s; any other OAuth 2.0 server is a TokenProvider or a ClusterTokenProvider (docs/definitions.md)", name, strings.Join(catalog.Names(), ", "))
}

func lowered(names []string) []string {
	all := make([]string, 0, len(names))
	for _, n := range names {
		all = append(all, strings.ToLower(n))
	}
	return all
}

func (c *providersCommand) table(entries []guide.Entry) error {
	t := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string"}, {Name: "Way in", Type: "string"}, {Name: "Grant", Type: "string"},
		{Name: "Keys of the Secret", Type: "string"}, {Name: "Parameters", Type: "string"},
	}}
	for _, e := range entries {
		for i, w := range e.Ways {
			name := e.Name
			if i > 0 {
				name = ""
			}
			var parameters []string
			for _, p := range w.Definition.Parameters {
				text := p.Name
				if p.Default != "" {
					text += "=" + p.Default
				}
				parameters = append(parameters, text)
			}
			t.Rows = append(t.Rows, metav1.TableRow{Cells: []any{
				name, cmp.Or(w.Method, "-"), string(w.Resolved.Grant), strings.Join(w.SampleKeys(), ","), cmp.Or(strings.Join(parameters, ","), "-"),
			}})
		}
	}
	return printers.NewTablePrinter(printers.PrintOptions{}).PrintObj(t, c.p.Out())
}

func (c *providersCommand) marshal(catalog *provider.Catalog, entries []guide.Entry, single bool) error {
	all := make([]offered, 0, len(entries))
	for _, e := range entries {
		l := offered{Name: e.Name, Version: catalog.Version(e.Name), Definition: e.Definition}
		for _, w := range e.Ways {
			l.Ways = append(l.Ways, offeredWay{Method: w.Method, Keys: w.SampleKeys(), Credentials: w.Resolved.RequiredCredentials(), Hosts: w.Hosts()})
		}
		all = append(all, l)
	}
	var v any = all
	if single {
		v = all[0]
	}
	if c.format == "json" {
		return printJSON(c.p.Out(), v)
	}
	text, err := json.Marshal(v)
	if err == nil {
		text, err = yaml.JSONToYAML(text)
	}
	if err != nil {
		return err
	}
	_, err = c.p.Out().Write(text)
	return err
}

// explain tells all about an entry.
func (c *providersCommand) explain(e guide.Entry) error {
	w := &strings.Builder{}
	fmt.Fprintf(w, "%s\n%s\n\nDocumentation: %s\n", e.Name, e.Definition.Description, e.Definition.Documentation)
	if len(e.Ways) > 1 {
		w.WriteString("\nThe first way in is taken whose keys are all in the credential Secret, unless providerRef.parameters.method names one.\n")
	}
	for _, way := range e.Ways {
		if err := explainWay(w, way); err != nil {
			return err
		}
	}
	if step := e.Definition.Provisioning; step != nil {
		fmt.Fprintf(w, "\nWith the credentials of %s those of %s can be made, once: credentials.provision, or \"kubectl providertoken provision\".\n", step.From, step.To)
	}
	// The pages' words are Markdown.
	_, err := fmt.Fprint(c.p.Out(), strings.ReplaceAll(w.String(), "`", ""))
	return err
}

func explainWay(w *strings.Builder, way guide.Way) error {
	row := func(name, text string) { fmt.Fprintf(w, "  %-22s %s\n", name, text) }
	w.WriteString("\n")
	if way.Method != "" {
		fmt.Fprintf(w, "%s: %s\n", way.Method, way.Definition.Description)
	}
	row("grant", way.Grant())
	row("client authentication", way.Authentication())
	row("token endpoint", way.Endpoint())
	row("credentials go to", way.Destination())
	for _, name := range way.Resolved.RequiredCredentials() {
		row("key", way.Keys(name)+": "+way.Meaning(name))
	}
	for _, name := range way.Optional() {
		row("key, if there is one", way.Keys(name)+": "+way.Meaning(name))
	}
	for _, p := range way.Definition.Parameters {
		row("parameter", p.Name+": "+p.Description+"; "+way.Allowed(p))
	}
	row("scopes", way.Scopes())
	row("expiry", way.Expiry())
	row("refresh tokens", way.Refresh())
	sample, err := way.Sample()
	if err != nil {
		return err
	}
	w.WriteString("\n  To apply:\n\n")
	for line := range strings.Lines(sample) {
		w.WriteString("    " + line)
	}
	return nil
}
