#!/usr/bin/env bash
# The end-to-end suite: real Pods on a real cluster mount the token. Builds the
# images (without a container engine), brings up a cluster (hack/cluster.sh says
# which), and runs test/e2e there.
#
#   hack/e2e.sh [flags of the test binary, such as -ginkgo.focus=kubelet]
#
# E2E_SECONDS=n lengthens the steady phase. E2E_IMAGES=DIR takes the images from
# there instead of building them.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly old=v0.1.0 new=v0.2.0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { echo "hack/e2e.sh: $*" >&2; }

# image FILE NAME:TAG FLAGS…
image() {
	local file=$1 tag=$2
	shift 2
	"$scratch/image" -root "$PWD" -o "$images/$file.tar" -tag "$tag" "$@"
}

# another_catalog: an overlay that makes the new version differ from the old one
# in what matters most in an upgrade: a built-in definition. It asks for the same
# scopes in another order.
another_catalog() {
	local entry=$PWD/internal/provider/catalog/PlantPredict.yaml
	awk '/^  - transactions\/post$/ { held = $0; next } { print } held { print held; held = "" }' "$entry" >"$scratch/PlantPredict.yaml"
	if cmp -s "$entry" "$scratch/PlantPredict.yaml"; then
		say "the catalog's PlantPredict entry no longer has the scopes that this script swaps"
		exit 1
	fi
	printf '{"Replace": {"%s": "%s"}}\n' "$entry" "$scratch/PlantPredict.yaml" >"$scratch/overlay.json"
}

# facts: sizes, for the suite to print with its results.
facts() {
	local size
	size=$(sed -n "s|^ghcr.io/providertoken/operator:$old [^ ]* [^ ]*: ||p" "$scratch/built")
	printf '{"image size": "%s"}\n' "$size" >"$images/facts.json"
}

build() {
	local commit
	commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
	say "building images"
	GOWORK=off go -C hack/image build -buildvcs=false -o "$scratch/image" .
	another_catalog
	{
		image operator "ghcr.io/providertoken/operator:$old" -commit "$commit"
		image operator-new "ghcr.io/providertoken/operator:$new" -commit "$commit" -overlay "$scratch/overlay.json"
		image provider providertoken.test/provider:e2e -package test/e2e/provider
		image reader providertoken.test/reader:e2e -package test/e2e/reader
	} | tee "$scratch/built" >&2
	facts
}

if [[ -n ${E2E_IMAGES:-} ]]; then
	images=$(cd "$E2E_IMAGES" && pwd)
else
	images=$scratch/images
	mkdir "$images"
	build
fi
# Compiled before the cluster is up: inside, there may be no way out to download
# anything.
go test -c -tags e2e -buildvcs=false -o "$scratch/e2e.test" ./test/e2e

started=$SECONDS status=0
E2E_IMAGES=$images hack/cluster.sh "$scratch/e2e.test" -test.timeout=45m -test.v -ginkgo.v -ginkgo.no-color "$@" || status=$?
say "cluster and suite took $((SECONDS - started)) s, all $SECONDS s"
exit "$status"
