#!/usr/bin/env bash
# Writes everything that is generated into the given tree: from the Go sources deep
# copies beside the API types, CRDs, and the manager's ClusterRole; from its Lua
# files the patch for Argo CD's settings; from the catalog a page for each provider; the
# dashboard; the page of every reason; from the API types' comments and rules docs/api.md.
#
#   hack/generate.sh DIRECTORY
set -euo pipefail

into=$(mkdir -p "${1:?usage: hack/generate.sh DIRECTORY}" && cd "$1" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."
controller_gen=$(hack/tool.sh controller-gen)

mkdir -p "$into"/{api/v1alpha1,config/crd/bases,config/argocd}
"$controller_gen" object paths=./api/v1alpha1 output:object:dir="$into/api/v1alpha1"
"$controller_gen" crd paths=./api/v1alpha1 output:crd:dir="$into/config/crd/bases"
# The API reference, from the types' comments and rules.
mkdir -p "$into/docs"
crd_ref_docs=$(hack/tool.sh crd-ref-docs)
"$crd_ref_docs" --source-path=api/v1alpha1 --config=hack/docs/api/config.yaml --templates-dir=hack/docs/api/templates \
	--renderer=markdown --log-level=ERROR --output-path="$into/docs/api.md"
# A redirection into the file itself would empty it before it is compared.
patch=$(go run -buildvcs=false ./hack/argocd config/argocd)
printf '%s\n' "$patch" >"$into/config/argocd/argocd-cm.yaml"
go run -buildvcs=false ./hack/docs "$into/docs/providers"
go run -buildvcs=false ./hack/dashboard "$into"
go run -buildvcs=false ./hack/troubleshooting "$into"
