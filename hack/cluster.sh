#!/usr/bin/env bash
# Runs a command with a Kubernetes cluster at hand, and takes the cluster down again
# afterwards, also after a failure or a signal:
#
#   hack/cluster.sh COMMAND…
#
# Which cluster: the one of KUBECONFIG, if that is set (it is left as it is); kind,
# where that and Docker are; else a node of its own on this machine, which needs
# Linux and root (see hack/node). E2E_CLUSTER=node|kind|kubeconfig chooses.
#
# What the command finds:
#   E2E_CLUSTER          node, kind or kubeconfig
#   KUBECONFIG           an admin's
#   E2E_KUBECTL          path of kubectl
#   E2E_LOGS             directory for logs; it stays
#   E2E_LOAD_IMAGE       "$E2E_LOAD_IMAGE FILE" makes the image in an archive, as "docker
#                        save" writes it, known to the cluster; empty where impossible
#   E2E_RESTART_KUBELET  ends a node's kubelet, and another one starts; empty where impossible
#
# With a node of its own, the command runs in the cluster's network, which has no way
# out: whatever it needs must be there (built, downloaded) before. On other clusters,
# E2E_LOAD_IMAGE may be set by the user.
#
# KEEP=1 keeps the cluster after the command until Ctrl-C, to look around.
# E2E_LOGS chooses the directory for logs.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly kept_logs=5

say() { echo "hack/cluster.sh: $*" >&2; }

if (($# == 0)); then
	say "usage: hack/cluster.sh COMMAND…"
	exit 2
fi

choose() {
	if [[ -n ${E2E_CLUSTER:-} ]]; then
		echo "$E2E_CLUSTER"
	elif [[ -n ${KUBECONFIG:-} ]]; then
		echo kubeconfig
	elif command -v kind >/dev/null && docker info >/dev/null 2>&1; then
		echo kind
	else
		echo node
	fi
}

# logs: a new directory; of those of earlier runs the newest stay.
logs() {
	local all=${XDG_STATE_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}}/providertoken/e2e-logs old
	mkdir -p "$all"
	# Their names sort by age.
	find "$all" -mindepth 1 -maxdepth 1 -type d | sort -r | tail -n "+$kept_logs" | while read -r old; do rm -rf "$old"; done
	old=$all/$(date +%Y%m%d-%H%M%S)-$$
	mkdir "$old"
	echo "$old"
}

# own_node COMMAND…: hack/node does it all, so that signals reach it directly.
own_node() {
	if [[ $(uname -s) != Linux || $(id -u) != 0 ]]; then
		say "a node of its own needs Linux and root: run this as root (sudo env \"PATH=\$PATH\" hack/cluster.sh …), or install kind and Docker, or set KUBECONFIG"
		exit 1
	fi
	local assets bin=$here/../bin keep=()
	assets=$("$here/kube.sh" node)
	# Renamed into place: another run may be using the program.
	mkdir -p "$bin"
	new=$(mktemp -d "$bin/node.XXXXXX")
	trap 'rm -rf "$new"' EXIT
	(cd "$here/.." && CGO_ENABLED=0 go build -buildvcs=false -trimpath -o "$new/" ./hack/node ./hack/node/pause)
	mv "$new/node" "$new/pause" "$bin/"
	rm -rf "$new"
	[[ -z ${KEEP:-} ]] || keep=(-keep)
	exec "$bin/node" -assets "$assets" -logs "$E2E_LOGS" -pause "$bin/pause" ${keep[@]+"${keep[@]}"} -- "$@"
}

# attended COMMAND…: as a child in a process group of its own, so that it gets every
# signal once, from here, and this script lives to clean up.
attended() {
	local status=0 input=/dev/stdin
	# A background group that reads from a terminal is stopped.
	[[ ! -t 0 ]] || input=/dev/null
	set -m
	"$@" <"$input" &
	child=$!
	set +m
	trap 'kill -INT "$child" 2>/dev/null || true' INT
	trap 'kill -TERM "$child" 2>/dev/null || true' TERM HUP
	# A signal ends wait, not the child.
	while :; do
		status=0
		wait "$child" || status=$?
		kill -0 "$child" 2>/dev/null || break
	done
	[[ -z ${KEEP:-} ]] || keep
	trap - INT TERM HUP
	return "$status"
}

keep() {
	say "the cluster stays until Ctrl-C: KUBECONFIG=$KUBECONFIG $E2E_KUBECTL get pods -A"
	sleep 2147483647 &
	child=$!
	wait "$child" || true
	kill "$child" 2>/dev/null || true
}

kind_cluster() {
	local name=providertoken-$$
	scratch=$(mktemp -d)
	export KUBECONFIG=$scratch/kubeconfig
	# shellcheck disable=SC2064 # the name of now
	trap "kind export logs --name $name '$E2E_LOGS' >/dev/null 2>&1 || true
		kind delete cluster --name $name >&2 || say 'could not delete it; do: kind delete cluster --name $name'
		rm -rf '$scratch'; say 'logs are in $E2E_LOGS'" EXIT
	kind create cluster --name "$name" --wait 120s >&2
	export E2E_LOAD_IMAGE="kind load image-archive --name $name"
	export E2E_RESTART_KUBELET="docker exec $name-control-plane systemctl restart kubelet"
	attended "$@"
}

E2E_CLUSTER=$(choose)
export E2E_CLUSTER E2E_LOGS=${E2E_LOGS:-$(logs)}
mkdir -p "$E2E_LOGS"
case $E2E_CLUSTER in
node) own_node "$@" ;;
kind | kubeconfig)
	say "logs are in $E2E_LOGS"
	E2E_KUBECTL=$(command -v kubectl || echo "$("$here/kube.sh")/kubectl")
	export E2E_KUBECTL E2E_LOAD_IMAGE=${E2E_LOAD_IMAGE:-} E2E_RESTART_KUBELET=${E2E_RESTART_KUBELET:-}
	if [[ $E2E_CLUSTER == kind ]]; then
		kind_cluster "$@"
	elif [[ -z ${KUBECONFIG:-} ]]; then
		say "E2E_CLUSTER=kubeconfig needs KUBECONFIG"
		exit 2
	else
		trap 'say "logs are in $E2E_LOGS"' EXIT
		attended "$@"
	fi
	;;
*)
	say "E2E_CLUSTER=$E2E_CLUSTER: must be node, kind or kubeconfig"
	exit 2
	;;
esac
