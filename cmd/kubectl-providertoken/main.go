// kubectl-providertoken does from a laptop what the operator does in the cluster.
// Put the binary on the PATH, and kubectl finds it as "kubectl providertoken".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"
	"k8s.io/utils/clock"

	"github.com/providertoken/operator/internal/exchange"
	"github.com/providertoken/operator/internal/provider"

	// A laptop without CA certificates of its own uses those that Mozilla trusts.
	_ "golang.org/x/crypto/x509roots/fallback"
)

const usage = `Keeps third-party access tokens fresh inside Kubernetes.

Usage:
  kubectl providertoken COMMAND

Commands:
  provision   Make API credentials with a login, once, and print them as a Secret
  help        Show this text

"kubectl providertoken COMMAND --help" tells more.
`

// errUsage was explained already.
var errUsage = errors.New("usage")

func main() {
	// A closed pipe must be an error and not the end: see print.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], terminal{})
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "kubectl providertoken:", err)
		os.Exit(1)
	}
}

// console is what a command reads and writes.
type console interface {
	Out() io.Writer
	Err() io.Writer
	// Password reads a line that is not shown where it is typed.
	Password(prompt string) (string, error)
}

func run(ctx context.Context, args []string, c console) error {
	if len(args) == 0 {
		return explain(c, usage)
	}
	switch args[0] {
	case "help", "-h", "--help":
		_, err := fmt.Fprint(c.Out(), usage)
		return err
	case "provision":
		catalog, err := provider.Builtin()
		if err != nil {
			return err
		}
		client, err := exchange.New(exchange.Options{UserAgent: "kubectl-providertoken"})
		if err != nil {
			return err
		}
		command := provision{catalog: catalog, exchanger: client, console: c, clock: clock.RealClock{}}
		err = command.run(ctx, args[1:])
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	default:
		return explain(c, fmt.Sprintf("kubectl providertoken: there is no command %q\n\n%s", args[0], usage))
	}
}

// explain says how the program is called, which it was not.
func explain(c console, text string) error {
	if _, err := io.WriteString(c.Err(), text); err != nil {
		return err
	}
	return errUsage
}

// terminal is the real console.
type terminal struct{}

func (terminal) Out() io.Writer { return os.Stdout }
func (terminal) Err() io.Writer { return os.Stderr }

// Password prompts on a terminal, and reads the first line of anything else.
func (terminal) Password(prompt string) (string, error) {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return firstLine(os.Stdin)
	}
	fmt.Fprint(os.Stderr, prompt)
	line, err := term.ReadPassword(in)
	fmt.Fprintln(os.Stderr)
	return string(line), err
}
