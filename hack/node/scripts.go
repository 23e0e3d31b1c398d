package main

import (
	"fmt"
	"strings"
)

// scripts are for the command, and for people. Their text has all that they need, so
// that they work in any environment; namespace is that of the cluster's processes.
func (l layout) scripts(namespace string, environment []string) map[string]string {
	var exports strings.Builder
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(&exports, "export %s=%s\n", name, quote(value))
	}
	return map[string]string{
		"load-image": fmt.Sprintf(`#!/bin/sh
# Makes the image in an archive, as "docker save" writes it, known to the node.
set -eu
[ $# = 1 ] || { echo "usage: load-image FILE" >&2; exit 2; }
exec ctr --address %s --namespace k8s.io images import "$1"
`, quote(l.socket())),
		"restart-kubelet": fmt.Sprintf(`#!/bin/sh
# Ends the kubelet, and returns when a new one runs.
set -eu
if [ "$(readlink /proc/self/ns/pid)" != %s ]; then
	echo "restart-kubelet: run this in the cluster: "%s >&2
	exit 1
fi
file=%s
old=$(cat "$file")
kill "$old"
tries=0
while [ "$(cat "$file")" = "$old" ]; do
	tries=$((tries + 1))
	[ "$tries" -le 600 ] || { echo "restart-kubelet: no new kubelet within 60 s" >&2; exit 1; }
	sleep 0.1
done
`, quote(namespace), quote(l.file("enter")+" "+l.file("restart-kubelet")), quote(l.file("kubelet.pid"))),
		"environment": fmt.Sprintf(`#!/bin/sh
# Runs a command with the variables that hack/cluster.sh speaks of.
%sexport PATH=%s:"$PATH"
exec "$@"
`, exports.String(), quote(l.assets)),
	}
}

// quote is for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
