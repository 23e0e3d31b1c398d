#!/usr/bin/env bash
# Runs a real Argo CD (application controller, repository server, API server and
# Redis, as processes) against a cluster, lets it install the operator from Git
# and keep ProviderTokens, and checks all that docs/gitops.md says of it:
#
#   hack/argocd/run.sh                    brings up a cluster by hack/cluster.sh
#   hack/cluster.sh hack/argocd/run.sh    the same; where the cluster's network has no
#                                         way out, once the first form has run
#
# The first run builds Argo CD from its Go module (some eight minutes on two
# cores) into the user's cache. Needs Go, git and redis-server (hack/packages.sh
# installs what is missing); with a node of its own, also what hack/node needs. A cluster of KUBECONFIG is left with what was
# installed: take one that nobody needs. The transcript goes to stdout and, with the logs
# of all processes, to $E2E_LOGS/argocd.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
image=ghcr.io/providertoken/operator:v0.1.0

say() { echo "hack/argocd/run.sh: $*" >&2; }

"$root/hack/packages.sh" git redis-server

export GOWORK=off GOFLAGS=-mod=readonly
unset GOOS GOARCH

# argocd prints the path of Argo CD's binary, which is all of its programs. Its name
# changes with what is pinned and with the Go version.
argocd() {
	local key binary new
	key=$(cat "$root/test/gitops/go.mod" "$root/test/gitops/go.sum" <(go version) | git hash-object --stdin | cut -c1-12)
	binary=${XDG_CACHE_HOME:-$HOME/.cache}/providertoken/tools/argocd-$key
	if [[ ! -x $binary ]]; then
		mkdir -p "$(dirname "$binary")"
		new=$(mktemp "$binary.XXXXXX")
		say "building Argo CD from its Go module (once, some eight minutes)"
		if ! CGO_ENABLED=0 go -C "$root/test/gitops" build -buildvcs=false -ldflags='-s -w' -o "$new" github.com/argoproj/argo-cd/v3/cmd >&2; then
			rm -f "$new"
			return 1
		fi
		mv "$new" "$binary"
	fi
	echo "$binary"
}

# Everything is built here, before there is a cluster: inside a node's network
# there may be no way out.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
GITOPS_ARGOCD=$(argocd)
GITOPS_MANIFESTS=$(go -C "$root/test/gitops" list -m -f '{{.Dir}}' github.com/argoproj/argo-cd/v3)/manifests
export GITOPS_ARGOCD GITOPS_MANIFESTS GITOPS_DIST=$root/dist GITOPS_CUSTOMIZATIONS=$root/config/argocd
export GITOPS_PROVIDER=$scratch/provider GITOPS_IMAGE=$scratch/operator.tar
say "building the operator's image, the simulated provider and the test"
go -C "$root/hack/image" run -buildvcs=false . -tag "$image" -o "$GITOPS_IMAGE" >&2
(cd "$root" && CGO_ENABLED=0 go build -buildvcs=false -o "$GITOPS_PROVIDER" ./test/e2e/provider)
go -C "$root/test/gitops" test -c -buildvcs=false -vet=off -tags argocd -o "$scratch/argocd.test" .

command=("$scratch/argocd.test" -test.run '^TestArgoCD$' -test.v -test.failfast -test.timeout "${GITOPS_TIMEOUT:-15m}" "$@")
# In hack/cluster.sh already? Then the cluster is at hand.
[[ -n ${E2E_KUBECTL:-} ]] || command=("$root/hack/cluster.sh" "${command[@]}")

# As a child, so that what was built goes in any case.
"${command[@]}" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || true' INT TERM
status=0
wait "$child" || status=$?
# A signal interrupts wait; the child cleans up and ends.
while kill -0 "$child" 2>/dev/null; do
	status=0
	wait "$child" || status=$?
done
exit "$status"
