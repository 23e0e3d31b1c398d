package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/terminal"
)

// plugin is what all commands share. A command is a function that takes it and
// returns a cobra.Command; see commands.
type plugin struct {
	console
	// in is the standard input; passwords come from the console.
	in io.Reader
	// interactive tells whether a person sits in front of in.
	interactive bool
	// screen is where what changes is drawn, over itself on a terminal.
	screen *terminal.Screen
	// clock tells the time, and lets commands that wait be tested.
	clock clock.WithTicker
	// flags are those of kubectl: --kubeconfig, --context, --namespace, --as and so on.
	flags *genericclioptions.ConfigFlags
	// around, when set, stands between the commands and the cluster.
	around func(client.WithWatch) client.WithWatch
	// catalog of this version; the operator in a cluster may be of another one.
	catalog func() (*provider.Catalog, error)
}

func newPlugin(c console, getenv func(string) string) *plugin {
	return &plugin{
		console:     c,
		in:          os.Stdin,
		interactive: term.IsTerminal(int(os.Stdin.Fd())),
		screen:      terminal.NewScreen(c.Out(), getenv),
		clock:       clock.RealClock{},
		flags:       genericclioptions.NewConfigFlags(true).WithDiscoveryQPS(-1),
		catalog:     provider.Builtin,
	}
}

const about = `Keeps third-party access tokens fresh inside Kubernetes: see and steer ProviderTokens.`

// groups of commands, as help shows them.
const (
	groupSee   = "see"
	groupSteer = "steer"
	groupWrite = "write"
)

// commands are all there are, in the order of help.
func (p *plugin) commands() []*cobra.Command {
	return []*cobra.Command{
		newListCommand(p),
		newStatusCommand(p),
		newWatchCommand(p),
		newTryCommand(p),
		newRefreshCommand(p),
		newSuspendCommand(p),
		newResumeCommand(p),
		newThawCommand(p),
		newInitCommand(p),
		newLintCommand(p),
		newProvidersCommand(p),
		newProvisionCommand(p),
	}
}

func (p *plugin) run(ctx context.Context, args []string) error {
	root := p.root()
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// root is the command that kubectl calls.
func (p *plugin) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-providertoken",
		Short: about, Long: about, Version: version,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl providertoken"},
		SilenceErrors: true, SilenceUsage: true, SuggestionsMinimumDistance: 2,
		Args: cobra.ArbitraryArgs,
		RunE: p.unknown,
		// Only commands are completed here.
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	root.SetIn(p.in)
	root.SetOut(p.Out())
	root.SetErr(p.Err())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return misuse("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddGroup(
		&cobra.Group{ID: groupSee, Title: "See:"},
		&cobra.Group{ID: groupSteer, Title: "Steer:"},
		&cobra.Group{ID: groupWrite, Title: "Prepare, without a cluster:"},
	)
	p.flags.AddFlags(root.PersistentFlags())
	root.AddCommand(p.commands()...)
	root.AddCommand(newOptionsCommand())
	root.SetUsageTemplate(usageTemplate)
	p.completeFlags(root)
	return root
}

// usageTemplate is cobra's without the flags of kubectl, which would bury the rest.
const usageTemplate = `Usage:{{if .Runnable}}{{if not .HasAvailableSubCommands}}
  {{.UseLine}}{{end}}{{end}}{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{$cmds := .Commands}}{{range $group := .Groups}}

{{.Title}}{{range $cmds}}{{if (and (eq .GroupID $group.ID) (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableSubCommands}}

Other:{{range $cmds}}{{if (and (eq .GroupID "") (or .IsAvailableCommand (eq .Name "help")))}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasParent}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalNonPersistentFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{end}}

{{if .HasAvailableSubCommands}}"{{.CommandPath}} COMMAND --help" tells more, {{else}}{{end}}"kubectl providertoken options" lists the flags of kubectl, which all commands know.
`

// unknown says that there is no such command, and which ones there are.
func (p *plugin) unknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return explain(p, cmd.Long+"\n\n"+cmd.UsageString())
	}
	hint := ""
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return explain(p, fmt.Sprintf("kubectl providertoken: there is no command %q%s\n\n%s", args[0], hint, cmd.UsageString()))
}

func newOptionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "options", Short: "List the flags of kubectl, which all commands know", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := io.WriteString(cmd.OutOrStdout(), "These flags go with every command that talks to a cluster:\n\n"+cmd.InheritedFlags().FlagUsages())
			return err
		},
	}
}

// none refuses arguments.
func none(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misuse("%s takes no arguments, and got %q; see %s --help", cmd.Name(), args[0], cmd.CommandPath())
	}
	return nil
}

// oneName wants the name of one ProviderToken.
func oneName(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return misuse("%s needs the name of a ProviderToken: %s; \"kubectl providertoken list\" shows them", cmd.Name(), cmd.UseLine())
	case len(args) > 1:
		return misuse("%s takes one name, and got %d; see %s --help", cmd.Name(), len(args), cmd.CommandPath())
	}
	return nil
}

// newProvisionCommand has flags of its own, in the way of Go's flag package.
func newProvisionCommand(p *plugin) *cobra.Command {
	return &cobra.Command{
		Use: "provision", GroupID: groupWrite,
		Short:              "Make API credentials with a login, once, and print them as a Secret",
		DisableFlagParsing: true,
		ValidArgsFunction: cobra.FixedCompletions(
			[]string{"--provider", "--username", "--name", "--namespace"}, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			catalog, err := p.catalog()
			if err != nil {
				return err
			}
			exchanger, err := exchange.New(exchange.Options{UserAgent: userAgent})
			if err != nil {
				return err
			}
			defer exchanger.Close()
			command := provision{catalog: catalog, exchanger: exchanger, console: p, clock: p.clock}
			err = command.run(cmd.Context(), args)
			if errors.Is(err, flag.ErrHelp) {
				return nil
			}
			return err
		},
	}
}
