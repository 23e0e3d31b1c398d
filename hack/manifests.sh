#!/usr/bin/env bash
# Writes from config/ what users install:
#
#   dist/crds.yaml                  the three kinds, and nothing else
#   dist/install.yaml               the cluster-wide operator, without the kinds
#   dist/install-namespaced.yaml    the operator for its own namespace
#   dist/chart/files/               what the Helm chart takes from config/ as it is
#
#   hack/manifests.sh [IMAGE]       writes them; without IMAGE, with the one that
#                                   config/manager/kustomization.yaml names
#   hack/manifests.sh --check       writes nothing; fails when one of them is stale
set -euo pipefail

usage() {
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}"
}

check=
image=
case ${1-} in
-h | --help) usage && exit ;;
--check) check=yes ;;
-*) echo "hack/manifests.sh: unknown option $1; see hack/manifests.sh --help" >&2 && exit 2 ;;
*) image=${1-} ;;
esac
(($# <= 1)) || { echo "hack/manifests.sh: one argument at most; see hack/manifests.sh --help" >&2 && exit 2; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
kustomize=$(hack/tool.sh kustomize)

# Everything is rendered here first, so that a failure leaves dist/ as it was.
# Inside the checkout, because kustomize wants relative paths to its bases.
mkdir -p dist
scratch=$(mktemp -d dist/.rendered.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# render CONFIG FILE
render() {
	local from=config/$1
	if [[ -n $image ]]; then
		from=$scratch/.overlay
		mkdir -p "$from"
		{
			printf 'resources: [../../../config/%s]\n' "$1"
			printf 'images:\n- name: %s\n  newName: "%s"\n  %s\n' "$official" "$name" "$reference"
		} >"$from/kustomization.yaml"
	fi
	{
		echo "# Generated from config/$1 by hack/manifests.sh."
		"$kustomize" build "$from"
	} >"$scratch/$2"
	rm -rf "$scratch/.overlay"
}

# part FILE KEY INTO: what stands in config/FILE under its last key, for the chart
# to put under the same key.
part() {
	local from=config/$1 into=$scratch/chart/files/$3
	mkdir -p "$(dirname "$into")"
	{
		echo "# Generated from $from by hack/manifests.sh."
		sed "1,/^$2:\$/d" "$from"
	} >"$into"
	if (($(wc -l <"$into") < 2)) || grep -q '^[a-z]' "$into"; then
		echo "hack/manifests.sh: $from does not end with its $2" >&2
		exit 1
	fi
}

if [[ -n $image ]]; then
	official=$(sed -n 's/^ *newName: //p' config/manager/kustomization.yaml)
	# A colon before the last slash belongs to the registry's port.
	case ${image##*/} in
	*@*) name=${image%@*} reference="digest: ${image##*@}" ;;
	*:*) name=${image%:*} reference="newTag: \"${image##*:}\"" ;;
	*) name=$image reference='newTag: latest' ;;
	esac
fi

render crd crds.yaml
render default install.yaml
render namespaced install-namespaced.yaml
mkdir -p "$scratch/chart/files"
cp "$scratch/crds.yaml" "$scratch/chart/files/crds.yaml"
for role in rbac/role rbac/cluster_role rbac/own_namespace_role metrics/auth_role metrics/reader_role \
	users/viewer_role users/editor_role users/admin_role users/cluster_provider_viewer_role; do
	part "$role.yaml" rules "rules/${role##*/}.yaml"
done
part credential-policy/policy.yaml spec credential_policy.yaml
part prometheus/prometheus_rule.yaml spec prometheus_rule.yaml
cp config/grafana/providertoken.json "$scratch/chart/files/dashboard.json"
part propagation/role.yaml rules rules/propagation_role.yaml
part propagation/policy.yaml spec propagation_policy.yaml
part workload-identity/role.yaml rules rules/workload_identity_role.yaml
part workload-identity/reviewer_role.yaml rules rules/workload_identity_reviewer_role.yaml
part workload-identity/policy.yaml spec workload_identity_policy.yaml

if [[ -n $check ]]; then
	stale=
	while read -r file; do
		diff -u "dist/$file" "$scratch/$file" || stale=yes
	done < <(cd "$scratch" && find . -type f | sed 's|^\./||' | sort)
	# What is generated no longer must not stay behind.
	while read -r file; do
		[[ -e $scratch/$file ]] || { echo "dist/$file is not generated any more: delete it" && stale=yes; }
	done < <(cd dist && find chart/files -type f 2>/dev/null | sort)
	[[ -z $stale ]] || { echo "hack/manifests.sh: dist/ is stale; run: make build-installer" >&2 && exit 1; }
	exit
fi

rm -rf dist/chart/files
mkdir -p dist/chart
mv "$scratch/chart/files" dist/chart/files
for file in crds.yaml install.yaml install-namespaced.yaml; do
	mv "$scratch/$file" "dist/$file"
	echo "dist/$file"
done
echo dist/chart/files
