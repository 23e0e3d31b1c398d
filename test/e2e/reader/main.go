// Command reader is the workload of the end-to-end suite: it does what a program
// that was handed a Secret should do. It reads the token from its file each time
// it needs it, and calls the provider's API with it twice a second. Or it does
// what some do instead: it takes the token from an environment variable, once.
//
// It prints one JSON line for each new token and each failure, and tells its
// counts over HTTP. Of a token it tells a hash, never the token.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		os.Exit(1)
	}
}

type options struct {
	name, file, variable, url, ca, serve string
	every, look                          time.Duration
	crash                                int
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("reader", flag.ContinueOnError)
	fs.StringVar(&o.name, "name", "", "`name` by which the provider knows this reader")
	fs.StringVar(&o.file, "file", "", "`file` with the token, or with a whole Authorization header's value")
	fs.StringVar(&o.variable, "env", "", "environment `variable` with the token, instead of a file")
	fs.StringVar(&o.url, "url", "", "`URL` of the resource")
	fs.StringVar(&o.ca, "ca", "CA_BUNDLE", "environment `variable` with the PEM certificates that vouch for the URL")
	fs.StringVar(&o.serve, "serve", ":8080", "`address:port` for the suite")
	fs.DurationVar(&o.every, "every", 500*time.Millisecond, "time between two calls")
	fs.DurationVar(&o.look, "look", 20*time.Millisecond, "time between two looks at the file, to learn when a token arrived")
	fs.IntVar(&o.crash, "crash", 0, "make the process with this `number` crash, and do nothing else: for a container that shares another one's processes")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.crash == 0 && (o.url == "" || (o.file == "") == (o.variable == "")) {
		return o, errors.New("give -url, and either -file or -env")
	}
	return o, nil
}

// run reads until it is told to end.
func run(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.crash != 0 {
		return crash(o.crash)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := newReader(o, os.Getenv(o.ca), os.Getenv(o.variable), os.Stdout)
	if err != nil {
		return err
	}
	server := &http.Server{Addr: o.serve, Handler: r.handler(), ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	go r.watch(ctx, o.look)
	go r.use(ctx, o.every)
	select {
	case <-ctx.Done():
		return server.Close()
	case err := <-failed:
		return err
	}
}

// crash ends a Go program without giving it a chance to tidy up. SIGKILL would not
// do: nobody inside a process namespace can send it to that namespace's first
// process. SIGQUIT can, since the Go runtime handles it, by dying at once.
func crash(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	if err := process.Signal(syscall.SIGQUIT); err != nil {
		return fmt.Errorf("crashing process %s: %w", strconv.Itoa(pid), err)
	}
	return nil
}
