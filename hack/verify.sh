#!/usr/bin/env bash
# Runs every check that needs no cluster, and names all that failed at the end.
# It changes nothing in the checkout.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=()

# check NAME COMMAND…
check() {
	local name=$1 started=$SECONDS
	shift
	printf '== %s\n' "$name"
	if "$@"; then
		printf '   ok (%d s)\n' $((SECONDS - started))
	else
		printf '   FAILED: %s\n' "$name"
		failed+=("$name")
	fi
}

generated() {
	local file stale=0
	hack/generate.sh "$scratch/generated" || return 1
	while read -r file; do
		diff -u "$file" "$scratch/generated/$file" || stale=1
	done < <(cd "$scratch/generated" && find . -type f | sed 's|^\./||' | sort)
	((stale == 0)) || { echo "   run: make generate"; return 1; }
}

formatted() {
	local files
	files=$(gofmt -l api cmd hack internal test ./*.go 2>/dev/null)
	[[ -z $files ]] || { printf '   not gofmt-ed, run make fmt: %s\n' "$files"; return 1; }
}

scripts() {
	local script
	for script in hack/*.sh hack/*/*.sh .ci/run; do bash -n "$script" || return 1; done
}

linted() {
	local tool
	tool=$(hack/tool.sh golangci-lint) && "$tool" run
}

tidy() {
	local module bad=0
	while read -r module; do
		GOWORK=off go -C "$module" mod tidy -diff || { echo "   run: go -C $module mod tidy"; bad=1; }
	done < <(git ls-files --cached --others --exclude-standard '*go.mod' | xargs -n1 dirname)
	return $bad
}

# What users install must be what config/ says.
installer() { hack/manifests.sh --check; }

# The other modules' Go code, which golangci-lint does not see.
modules() {
	local module
	for module in hack/image test/crash test/faults test/gitops test/recipes test/formats hack/bench; do
		GOWORK=off go -C "$module" vet -tags argocd,crash,recipes ./... || return 1
	done
}

# Both installs must render, and the one for a namespace must not need a cluster's admin.
manifests() {
	local kustomize scoped
	kustomize=$(hack/tool.sh kustomize) || return 1
	"$kustomize" build config/default >"$scratch/default.yaml" || return 1
	"$kustomize" build config/prometheus >/dev/null || return 1
	"$kustomize" build config/samples >/dev/null || return 1
	"$kustomize" build config/namespaced >"$scratch/namespaced.yaml" || return 1
	scoped=$(grep -E '^kind: (Cluster|Namespace$|CustomResource)' "$scratch/namespaced.yaml" | sort -u)
	[[ -z $scoped ]] || { printf '   cluster-scoped in config/namespaced: %s\n' "$scoped"; return 1; }
}

vulnerabilities() {
	local tool status=0
	tool=$(hack/tool.sh govulncheck) || return 1
	"$tool" ./... >"$scratch/vulnerabilities" 2>&1 || status=$?
	# 0: none; 3: found; anything else with this word: no database.
	if ((status != 0 && status != 3)) && grep -q 'fetching vulnerabilities' "$scratch/vulnerabilities"; then
		echo '   SKIPPED: the vulnerability database cannot be reached from here'
		return 0
	fi
	cat "$scratch/vulnerabilities"
	return $status
}

check "generated files are up to date" generated
check "sources are formatted" formatted
check "scripts parse" scripts
check "go vet" go vet ./...
check "golangci-lint" linted
check "go.mod files are tidy" tidy
check "manifests render" manifests
check "dist is up to date" installer
check "other modules" modules
check "pure packages are covered" make --no-print-directory cover
check "govulncheck" vulnerabilities

if ((${#failed[@]} > 0)); then
	printf '\nfailed:\n'
	printf '  %s\n' "${failed[@]}"
	exit 1
fi
printf '\nall checks passed (%d s)\n' "$SECONDS"
