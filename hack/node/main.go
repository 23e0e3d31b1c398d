// Command node brings up a real Kubernetes cluster of one node on the machine it
// runs on, runs a command in it, and takes all of it down again.
//
// Everything, the command included, lives in a network, a mount and a process
// namespace of its own. Nothing listens on the machine's addresses, and the kernel
// does the taking down: when the namespaces' first process ends, however it ends,
// every other process of the cluster is killed and every mount is gone. What is left
// are one directory and some empty cgroups; this program removes those, and at its
// next start also what an earlier run could not remove because it was killed.
//
// Run it through hack/cluster.sh, which gets Kubernetes' programs and says which
// variables the command finds. It needs Linux and root.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

type options struct {
	assets, logs, pause string
	keep                bool
	command             []string

	// Set by this program when it starts itself again inside the namespaces.
	inside, cniPlugins, cgroup string
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		say("%v", err)
		os.Exit(2)
	}
	code, err := run(o)
	if err != nil {
		say("%v", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func parse(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("node", flag.ContinueOnError)
	set.StringVar(&o.assets, "assets", "", "`directory` of Kubernetes' programs and etcd, as hack/kube.sh node prints it")
	set.StringVar(&o.logs, "logs", "", "`directory` for logs; they stay")
	set.StringVar(&o.pause, "pause", "", "the static `program` hack/node/pause, of which the pods' pause image is made")
	set.BoolVar(&o.keep, "keep", false, "after the command, keep the cluster until Ctrl-C")
	set.StringVar(&o.inside, "inside", "", "internal: the run's directory")
	set.StringVar(&o.cniPlugins, "cni-plugins", "", "internal: directory of the CNI plugins")
	set.StringVar(&o.cgroup, "cgroup", "", "internal: the run's cgroup")
	set.Usage = func() {
		_, _ = fmt.Fprintln(set.Output(), "usage: node -assets DIR -logs DIR -pause FILE [-keep] COMMAND…")
		set.PrintDefaults()
	}
	if err := set.Parse(args); err != nil {
		return o, err
	}
	o.command = set.Args()
	if len(o.command) == 0 {
		return o, errors.New("no command to run in the cluster")
	}
	for name, path := range map[string]*string{"assets": &o.assets, "logs": &o.logs, "pause": &o.pause} {
		if *path == "" {
			return o, fmt.Errorf("-%s is missing; hack/cluster.sh sets it", name)
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return o, fmt.Errorf("reading -%s: %w", name, err)
		}
		*path = absolute
	}
	return o, nil
}

// say is for the person who waits; the command's own output goes past it untouched.
func say(format string, args ...any) {
	_, _ = fmt.Fprintf(os.Stderr, "hack/node: "+format+"\n", args...)
}
