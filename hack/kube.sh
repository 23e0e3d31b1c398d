#!/usr/bin/env bash
# Prints a directory that holds kube-apiserver, etcd and kubectl. With the argument
# "node" it also holds what a node and a whole control plane need:
# kube-controller-manager, kube-scheduler, kubelet and kube-proxy. First hit wins:
#
#   1. KUBEBUILDER_ASSETS
#   2. the user's cache, by Kubernetes version: a fresh clone costs nothing there
#   3. setup-envtest: a download of seconds where the internet is open
#   4. a build from the Go modules that hack/kube pins: works wherever modules do
#
# Nobody offers the node's programs prebuilt where envtest's are, so that for those
# 3 does not count. Only the directory goes to stdout; what happens meanwhile goes
# to stderr. KUBE_FROM_SOURCE=1 skips 3.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binaries=(kube-apiserver etcd kubectl)
node_binaries=(kube-controller-manager kube-scheduler kubelet kube-proxy)

# How long the index of prebuilt binaries may take to answer before the network
# counts as closed, and how long the download itself may take.
readonly index_seconds=20 download_seconds=300 progress_seconds=20

say() { echo "hack/kube.sh: $*" >&2; }

# missing DIRECTORY BINARY…: those that are not there, a line each.
missing() {
	local directory=$1 binary
	shift
	for binary in "$@"; do
		[[ -x $directory/$binary ]] || echo "$binary"
	done
}

# complete DIRECTORY BINARY…
complete() { [[ -z $(missing "$@") ]]; }

# within SECONDS COMMAND…: timeout(1), which not every system has.
within() {
	local seconds=$1 started=$SECONDS pid
	shift
	"$@" &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		if ((SECONDS - started >= seconds)); then
			kill "$pid" 2>/dev/null || true
			wait "$pid" 2>/dev/null || true
			return 124
		fi
		sleep 0.2
	done
	wait "$pid"
}

# download DIRECTORY: prebuilt binaries of the same minor version.
download() {
	local into=$1 envtest found
	envtest=$("$here/tool.sh" setup-envtest) || return 1
	within "$index_seconds" "$envtest" list --bin-dir "$scratch/envtest" >/dev/null 2>&1 || return 1
	say "downloading kube-apiserver, etcd and kubectl $minor"
	within "$download_seconds" "$envtest" use --bin-dir "$scratch/envtest" -p path "$minor.x!" >"$scratch/found" 2>/dev/null || return 1
	found=$(<"$scratch/found")
	complete "$found" "${binaries[@]}" || return 1
	mkdir -p "$into"
	cp "${binaries[@]/#/$found/}" "$into/"
}

# progress PID STARTED: a line every progress_seconds, on a terminal or not, for
# as long as the process runs.
progress() {
	local pid=$1 started=$2 last=$2 so_far
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		((SECONDS - last >= progress_seconds)) || continue
		last=$SECONDS
		if [[ -s $scratch/packages ]]; then
			so_far="$(grep -c -v '^go: ' "$scratch/log" || true) of $(wc -l <"$scratch/packages" | tr -d ' ') packages built"
		else
			so_far="$(grep -c '^go: downloading' "$scratch/log" || true) modules downloaded"
		fi
		say "$((SECONDS - started)) s, $so_far"
	done
	wait "$pid" && return
	say "the build failed:"
	tail -n 20 "$scratch/log" >&2
	return 1
}

# build DIRECTORY BINARY…: from the modules that hack/kube pins.
build() {
	local into=$1 started=$SECONDS stamp=k8s.io/component-base/version binary packages=()
	shift
	for binary in "$@"; do
		case $binary in
		etcd) packages+=(go.etcd.io/etcd/server/v3) ;;
		*) packages+=("k8s.io/kubernetes/cmd/$binary") ;;
		esac
	done
	say "building $* ($version) from their Go modules: first build, some minutes on two cores"
	mkdir -p "$into"
	rm -f "$scratch/packages"
	export GOWORK=off GOFLAGS=-mod=readonly
	go -C "$here/kube" list -deps "${packages[@]}" >"$scratch/list" 2>"$scratch/log" &
	progress $! "$started" || return 1
	mv "$scratch/list" "$scratch/packages"
	go -C "$here/kube" build -v -buildvcs=false \
		-ldflags "-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=${minor%%.*} -X $stamp.gitMinor=${minor#*.}" \
		-o "$into/" "${packages[@]}" >"$scratch/log" 2>&1 &
	progress $! "$started" || return 1
	[[ ! -e $into/server ]] || mv "$into/server" "$into/etcd"
	say "built in $((SECONDS - started)) s"
}

cleanup() {
	trap - EXIT
	local child
	for child in $(jobs -p); do kill "$child" 2>/dev/null || true; done
	# setup-envtest and the module cache write-protect what they store.
	chmod -R u+w "$scratch" 2>/dev/null || true
	rm -rf "$scratch"
}

# The lock of the cache: two concurrent first runs would do the same work twice; the
# second waits. Without flock(1) the last rename wins, which is only slower.
lock() {
	mkdir -p "$cache"
	if command -v flock >/dev/null; then
		exec 9>"$cache/lock"
		flock --nonblock 9 || { say "another run is getting the binaries: waiting for it" && flock 9; }
	fi
}

# get: the first three, into the cache.
get() {
	if [[ -n ${KUBE_FROM_SOURCE:-} ]] || ! download "$scratch/assets" 9>&-; then
		rm -rf "$scratch/assets"
		build "$scratch/assets" "${binaries[@]}" 9>&-
	fi
	# What a node needs may be there already, beside an incomplete rest.
	mkdir -p "$assets"
	mv "$scratch/assets"/* "$assets/"
}

# get_node: of the programs of a node those that are missing, into the cache.
get_node() {
	local names
	mapfile -t names < <(missing "$assets" "${node_binaries[@]}")
	build "$scratch/node" "${names[@]}" 9>&-
	mv "$scratch/node"/* "$assets/"
}

wanted=("${binaries[@]}")
case ${1:-} in
'') ;;
node)
	wanted+=("${node_binaries[@]}")
	if [[ $(uname -s) != Linux ]]; then
		say "a node needs Linux; elsewhere use kind, or set KUBECONFIG to a cluster"
		exit 1
	fi
	;;
*)
	say "usage: hack/kube.sh [node]"
	exit 2
	;;
esac

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
	if complete "$KUBEBUILDER_ASSETS" "${wanted[@]}"; then
		echo "$KUBEBUILDER_ASSETS"
		exit
	fi
	if ! complete "$KUBEBUILDER_ASSETS" "${binaries[@]}"; then
		say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS must hold ${binaries[*]}; unset it to let this script find them"
		exit 1
	fi
	say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS holds no programs of a node: using the cache instead"
fi

version=$(sed -n 's/^[[:space:]]*k8s.io\/kubernetes \(v[^ ]*\).*/\1/p' "$here/kube/go.mod")
minor=${version#v}
minor=${minor%.*}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/providertoken/kube
assets=$cache/$version-$(go env GOHOSTOS)-$(go env GOHOSTARCH)

if ! complete "$assets" "${wanted[@]}"; then
	lock
	unset GOOS GOARCH
	scratch=$(mktemp -d "$cache/new.XXXXXX")
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	# Another run may have got them while this one waited for the lock.
	complete "$assets" "${binaries[@]}" || get
	complete "$assets" "${wanted[@]}" || get_node
fi
echo "$assets"
