// Command kubectl-providertoken is what people hold in their hands. On the PATH,
// kubectl finds it as "kubectl providertoken".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"golang.org/x/term"
	"k8s.io/klog/v2" //nolint:depguard // only to keep client-go's lines from people
	"sigs.k8s.io/controller-runtime/pkg/log"

	// A laptop without CA certificates of its own uses those that Mozilla trusts.
	_ "golang.org/x/crypto/x509roots/fallback"
)

// Exit codes. docs/kubectl-plugin.md promises them to scripts.
const (
	exitFailed    = 1 // it did not work; the message says why and what to do
	exitMisuse    = 2 // it was called wrongly; nothing was tried
	exitRefused   = 3 // it was asked for, and what was waited for failed
	exitTimeout   = 4 // it was asked for, and did not happen in the time given
	exitCancelled = 130
)

// version is set by the linker.
var version = "dev"

// errUsage was explained already.
var errUsage = errors.New("usage")

func main() {
	// A closed pipe must be an error and not the end: see provision.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// What libraries log is not for people; the commands say what happened.
	log.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	err := run(ctx, arguments(os.Args), desktop{})
	stop()
	os.Exit(conclude(os.Stderr, err))
}

// run is the program. Its console is all that it reads and writes of a terminal.
func run(ctx context.Context, args []string, c console) error {
	return newPlugin(c, os.Getenv).run(ctx, args) //nolint:forbidigo // main reads the environment
}

// arguments of the command. kubectl (1.26 or newer) calls a program of the name
// kubectl_complete-providertoken for completion: a link of that name is enough.
func arguments(argv []string) []string {
	if len(argv) > 0 && strings.HasPrefix(filepath.Base(argv[0]), "kubectl_complete-") {
		return append([]string{"__complete"}, argv[1:]...)
	}
	return argv[1:]
}

// failure is an error with an exit code of its own.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// misuse is an error of the caller, found before anything was tried.
func misuse(format string, args ...any) error {
	return &failure{exitMisuse, fmt.Errorf(format, args...)}
}

// conclude says what went wrong, and returns the exit code.
func conclude(out io.Writer, err error) int {
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage): // and said
		if errors.As(err, &f) {
			return f.code
		}
		return exitMisuse
	case errors.Is(err, context.Canceled):
		return exitCancelled
	}
	_, _ = fmt.Fprintln(out, "kubectl providertoken:", err)
	if errors.As(err, &f) {
		return f.code
	}
	return exitFailed
}

// console is what a command reads and writes.
type console interface {
	Out() io.Writer
	Err() io.Writer
	// Password reads a line that is not shown where it is typed.
	Password(prompt string) (string, error)
}

// explain says how the program is called, which it was not.
func explain(c console, text string) error {
	if _, err := io.WriteString(c.Err(), text); err != nil {
		return err
	}
	return errUsage
}

// desktop is the real console.
type desktop struct{}

func (desktop) Out() io.Writer { return os.Stdout }
func (desktop) Err() io.Writer { return os.Stderr }

// Password prompts on a terminal, and reads the first line of anything else.
func (desktop) Password(prompt string) (string, error) {
	in := int(os.Stdin.Fd())
	if !term.IsTerminal(in) {
		return firstLine(os.Stdin)
	}
	fmt.Fprint(os.Stderr, prompt)
	line, err := term.ReadPassword(in)
	fmt.Fprintln(os.Stderr)
	return string(line), err
}
