package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/providertoken/operator/internal/lint"
)

const lintHelp = `Judge manifests without a cluster: what the API server would refuse (schema and CEL rules of the CRDs),
what the operator would refuse (provider, parameters, credential keys, labels, allowed hosts, templates), and
what works and will be regretted (two writers of one Secret, tokens in environment variables, plain credentials).

Everything that is given is judged together, since manifests refer to each other. Kinds that have nothing to do
with ProviderTokens are skipped. Of a directory, all .yaml, .yml and .json files are read, but for Helm's templates.`

type lintCommand struct {
	p        *plugin
	format   string
	strict   bool
	quiet    bool
	disabled []string
	rules    bool
}

func newLintCommand(p *plugin) *cobra.Command {
	l := &lintCommand{p: p}
	cmd := &cobra.Command{
		Use: "lint FILE|DIRECTORY|-...", GroupID: groupWrite,
		Short: "Judge manifests, for CI of GitOps repositories",
		Long:  lintHelp,
		Example: `  kubectl providertoken lint clusters/production
  kustomize build overlays/production | kubectl providertoken lint -
  helm template shop charts/shop | kubectl providertoken lint --strict -o github -`,
		RunE: l.run,
	}
	flags := cmd.Flags()
	flags.StringVarP(&l.format, "output", "o", "text", "text, json, or github (annotations of a change)")
	flags.BoolVar(&l.strict, "strict", false, "fail on warnings too")
	flags.BoolVarP(&l.quiet, "quiet", "q", false, "say nothing when nothing is wrong")
	flags.StringSliceVar(&l.disabled, "disable", nil, "rules that are not looked at, separated by commas")
	flags.BoolVar(&l.rules, "rules", false, "list the rules, and judge nothing")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "github"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (l *lintCommand) run(cmd *cobra.Command, args []string) error {
	write, known := map[string]func(io.Writer, []lint.Finding) error{"text": lint.Text, "json": lint.JSON, "github": lint.GitHub}[l.format]
	switch {
	case !known:
		return misuse("there is no output %q; use text, json or github", l.format)
	case l.rules:
		return l.list()
	case len(args) == 0:
		return misuse("lint needs files, directories, or - for the standard input; see lint --help")
	}
	catalog, err := l.p.catalog()
	if err != nil {
		return err
	}
	linter, err := lint.New(lint.Options{Catalog: catalog, Namespace: *l.p.flags.Namespace, Disable: l.disabled})
	if err != nil {
		return misuse("%w; lint --rules lists them", err)
	}
	files, err := l.p.read(args)
	if err != nil {
		return err
	}
	found := linter.Judge(cmd.Context(), files)
	if err := write(l.p.Out(), found); err != nil {
		return err
	}
	return l.conclude(found, len(files))
}

// conclude says how it went, and fails where it went wrong.
func (l *lintCommand) conclude(found []lint.Finding, files int) error {
	mistakes := 0
	for _, f := range found {
		if f.Severity == lint.Error || l.strict {
			mistakes++
		}
	}
	warnings := len(found) - mistakes
	switch {
	case mistakes > 0:
		return fmt.Errorf("%s in %s", tally(mistakes, warnings), plural(files, "file"))
	case l.quiet || l.format == "json":
		return nil
	}
	_, err := fmt.Fprintf(l.p.Err(), "%s, %s\n", plural(files, "file"), tally(0, warnings))
	return err
}

func tally(mistakes, warnings int) string {
	switch {
	case mistakes == 0 && warnings == 0:
		return "nothing wrong"
	case warnings == 0:
		return plural(mistakes, "mistake")
	case mistakes == 0:
		return plural(warnings, "warning")
	}
	return plural(mistakes, "mistake") + " and " + plural(warnings, "warning")
}

func (l *lintCommand) list() error {
	if l.format == "json" {
		return printJSON(l.p.Out(), lint.Rules())
	}
	for _, r := range lint.Rules() {
		if _, err := fmt.Fprintf(l.p.Out(), "%-20s %-8s %s\n", r.Name, r.Severity, r.About); err != nil {
			return err
		}
	}
	return nil
}

// read reads what is named: files, directories and the standard input.
func (p *plugin) read(names []string) ([]lint.File, error) {
	var files []lint.File
	for _, name := range names {
		found, err := p.readOne(name)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

// maxInput bounds one file: more is no manifest.
const maxInput = 64 << 20

func (p *plugin) readOne(name string) ([]lint.File, error) {
	if name == "-" {
		content, err := io.ReadAll(io.LimitReader(p.in, maxInput))
		if err != nil {
			return nil, fmt.Errorf("reading the standard input: %w", err)
		}
		return []lint.File{{Name: "stdin", Content: content}}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, misuse("%w; name a file, a directory, or - for the standard input", err)
	}
	if !info.IsDir() {
		content, err := os.ReadFile(name) //nolint:gosec // the file that the person names
		return []lint.File{{Name: name, Content: content}}, err
	}
	var files []lint.File
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && unread(path, d.Name()) && path != name:
			return fs.SkipDir
		case !d.Type().IsRegular() || !slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(path))):
			return nil
		}
		content, err := os.ReadFile(path) //nolint:gosec // below the directory that the person names
		files = append(files, lint.File{Name: path, Content: content})
		return err
	})
	if err == nil && len(files) == 0 {
		return nil, misuse("there is no .yaml, .yml or .json file in %s", name)
	}
	return files, err
}

// unread claims that a directory holds no manifests: what Git and tools keep for
// themselves, and Helm's templates, which are none before they are rendered.
func unread(path, name string) bool {
	if strings.HasPrefix(name, ".") || name == "node_modules" {
		return true
	}
	if name != "templates" {
		return false
	}
	_, err := os.Stat(filepath.Join(filepath.Dir(path), "Chart.yaml"))
	return err == nil
}
