#!/usr/bin/env bash
# Prints the path of a development tool that is pinned under hack/tools, and
# builds it first where needed.
#
#   hack/tool.sh controller-gen|kustomize|helm|golangci-lint|govulncheck|setup-envtest|crd-ref-docs|terminal-to-html
#
# The binary lives in the user's cache, outside the checkout, under a name that
# changes with its module's go.sum and with the Go version: a second checkout
# costs nothing, and a changed pin is never missed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=${1:?usage: hack/tool.sh NAME}

module=$here/tools
case $name in
controller-gen) package=sigs.k8s.io/controller-tools/cmd/controller-gen ;;
kustomize) package=sigs.k8s.io/kustomize/kustomize/v5 ;;
govulncheck) package=golang.org/x/vuln/cmd/govulncheck ;;
setup-envtest) package=sigs.k8s.io/controller-runtime/tools/setup-envtest ;;
golangci-lint)
	package=github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	module=$here/tools/golangci-lint
	;;
crd-ref-docs)
	package=github.com/elastic/crd-ref-docs
	module=$here/tools/crd-ref-docs
	;;
terminal-to-html)
	package=github.com/buildkite/terminal-to-html/v3/cmd/terminal-to-html
	module=$here/tools/terminal-to-html
	;;
helm)
	package=helm.sh/helm/v4/cmd/helm
	module=$here/tools/helm
	;;
*)
	echo "hack/tool.sh: no tool $name is pinned" >&2
	exit 2
	;;
esac

unset GOOS GOARCH
key=$(cat "$module/go.mod" "$module/go.sum" <(go version) | git hash-object --stdin | cut -c1-12)
tool=${XDG_CACHE_HOME:-$HOME/.cache}/providertoken/tools/$name-$key

if [[ ! -x $tool ]]; then
	mkdir -p "$(dirname "$tool")"
	echo "building $name (once)" >&2
	temporary=$(mktemp "$tool.XXXXXX")
	trap 'rm -f "$temporary"' EXIT
	GOWORK=off GOFLAGS=-mod=readonly go -C "$module" build -buildvcs=false -ldflags='-s -w' -o "$temporary" "$package" >&2
	mv "$temporary" "$tool"
fi
echo "$tool"
