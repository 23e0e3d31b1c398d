#!/usr/bin/env bash
# Prints a directory that holds kube-apiserver, etcd and kubectl. First hit wins:
#
#   1. KUBEBUILDER_ASSETS
#   2. the user's cache, by Kubernetes version: a fresh clone costs nothing there
#   3. setup-envtest: a download of seconds where the internet is open
#   4. a build from the Go modules that hack/kube pins: works wherever modules do
#
# Only the directory goes to stdout; what happens meanwhile goes to stderr.
# KUBE_FROM_SOURCE=1 skips 3.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binaries=(kube-apiserver etcd kubectl)

# How long the index of prebuilt binaries may take to answer before the network
# counts as closed, and how long the download itself may take.
readonly index_seconds=20 download_seconds=300 progress_seconds=20

say() { echo "hack/kube.sh: $*" >&2; }

complete() {
	local binary
	for binary in "${binaries[@]}"; do
		[[ -x $1/$binary ]] || return 1
	done
}

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
	complete "$found" || return 1
	mkdir -p "$into"
	cp "${binaries[@]/#/$found/}" "$into/"
}

# progress PID STARTED: a line every progress_seconds, on a terminal or not, for
# as long as the process runs.
progress() {
	local pid=$1 started=$2 last=$2 done
	while kill -0 "$pid" 2>/dev/null; do
		sleep 1
		((SECONDS - last >= progress_seconds)) || continue
		last=$SECONDS
		if [[ -s $scratch/packages ]]; then
			done="$(grep -c -v '^go: ' "$scratch/log" || true) of $(wc -l <"$scratch/packages" | tr -d ' ') packages built"
		else
			done="$(grep -c '^go: downloading' "$scratch/log" || true) modules downloaded"
		fi
		say "$((SECONDS - started)) s, $done"
	done
	wait "$pid" && return
	say "the build failed:"
	tail -n 20 "$scratch/log" >&2
	return 1
}

# build DIRECTORY: all three from the modules that hack/kube pins.
build() {
	local into=$1 started=$SECONDS stamp=k8s.io/component-base/version
	local packages=(k8s.io/kubernetes/cmd/kube-apiserver go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kubectl)
	say "building Kubernetes $version and etcd from their Go modules: first build, about ten minutes on two cores"
	mkdir -p "$into"
	export GOWORK=off GOFLAGS=-mod=readonly
	go -C "$here/kube" list -deps "${packages[@]}" >"$scratch/list" 2>"$scratch/log" &
	progress $! "$started" || return 1
	mv "$scratch/list" "$scratch/packages"
	go -C "$here/kube" build -v -buildvcs=false \
		-ldflags "-s -w -X $stamp.gitVersion=$version -X $stamp.gitMajor=${minor%%.*} -X $stamp.gitMinor=${minor#*.}" \
		-o "$into/" "${packages[@]}" >"$scratch/log" 2>&1 &
	progress $! "$started" || return 1
	mv "$into/server" "$into/etcd"
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

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
	if ! complete "$KUBEBUILDER_ASSETS"; then
		say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS must hold ${binaries[*]}; unset it to let this script find them"
		exit 1
	fi
	echo "$KUBEBUILDER_ASSETS"
	exit
fi

version=$(sed -n 's/^[[:space:]]*k8s.io\/kubernetes \(v[^ ]*\).*/\1/p' "$here/kube/go.mod")
minor=${version#v}
minor=${minor%.*}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/providertoken/kube
assets=$cache/$version-$(go env GOHOSTOS)-$(go env GOHOSTARCH)

if ! complete "$assets"; then
	mkdir -p "$cache"
	# Two concurrent first runs would do the same work twice; the second waits.
	# Without flock(1) the last rename wins, which is only slower.
	if command -v flock >/dev/null; then
		exec 9>"$cache/lock"
		flock --nonblock 9 || { say "another run is getting the binaries: waiting for it" && flock 9; }
	fi
fi
if ! complete "$assets"; then
	unset GOOS GOARCH
	scratch=$(mktemp -d "$cache/new.XXXXXX")
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	if [[ -n ${KUBE_FROM_SOURCE:-} ]] || ! download "$scratch/assets" 9>&-; then
		rm -rf "$scratch/assets"
		build "$scratch/assets" 9>&-
	fi
	rm -rf "$assets"
	mv "$scratch/assets" "$assets"
fi
echo "$assets"
