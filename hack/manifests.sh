#!/usr/bin/env bash
# Writes dist/install.yaml (cluster-wide) and dist/install-namespaced.yaml.
#
#   hack/manifests.sh [IMAGE]
set -euo pipefail

image=${1:-providertoken/operator:latest}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kustomize=$(hack/tool.sh kustomize)

# A colon before the last slash belongs to the registry's port.
case ${image##*/} in
*@*) name=${image%@*} reference="digest: ${image##*@}" ;;
*:*) name=${image%:*} reference="newTag: \"${image##*:}\"" ;;
*) name=$image reference="newTag: latest" ;;
esac

mkdir -p dist
overlay=$(mktemp -d dist/overlay.XXXXXX)
trap 'rm -rf "$overlay"' EXIT

# render CONFIG FILE
render() {
	printf 'resources: [../../config/%s]\nimages:\n- name: providertoken/operator\n  newName: %s\n  %s\n' \
		"$1" "$name" "$reference" >"$overlay/kustomization.yaml"
	"$kustomize" build "$overlay" >"$overlay/rendered"
	mv "$overlay/rendered" "$2"
	echo "$2"
}

render default dist/install.yaml
render namespaced dist/install-namespaced.yaml
