#!/usr/bin/env bash
# Proves the recipes of docs/recipes.md: applies the manifests of that page on a real
# cluster, with the programs that they are for, and prints a line for each.
#
#   hack/recipes.sh
#
# RECIPES="image-pull flux sealed-secrets external-secrets reloader" chooses. When it is
# left out, all are run, reloader only where RELOADER=FILE names Reloader's program, from
# its release or image: not every module proxy has its Go module.
#
# The other programs are built from the Go modules that test/recipes pins (some five
# minutes on two cores) into the user's cache. The cluster is a node of its own
# (hack/node), which needs Linux and root: registry, Git server and controllers run
# beside it, in its network.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
recipes=$root/test/recipes
cache=${XDG_CACHE_HOME:-$HOME/.cache}/providertoken/tools

say() { echo "hack/recipes.sh: $*" >&2; }

if [[ $(uname -s) != Linux || $(id -u) != 0 ]]; then
	say "the node needs Linux and root; run this as root: sudo env \"PATH=\$PATH\" hack/recipes.sh"
	exit 1
fi
RECIPES=${RECIPES:-image-pull flux sealed-secrets external-secrets${RELOADER:+ reloader}}
export RECIPES
for recipe in $RECIPES; do
	case $recipe in
	image-pull | flux | sealed-secrets | external-secrets | reloader) ;;
	*)
		say "there is no recipe $recipe; those in RECIPES may be image-pull, flux, sealed-secrets, external-secrets and reloader"
		exit 2
		;;
	esac
done
wanted() { [[ " $RECIPES " == *" $1 "* ]]; }
if wanted reloader && [[ ! -x ${RELOADER:-} ]]; then
	say "the recipe reloader needs RELOADER=FILE, the program of github.com/stakater/Reloader"
	exit 2
fi
if wanted flux; then "$root/hack/packages.sh" git; fi

export GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0
unset GOOS GOARCH
scratch=$(mktemp -d)
new=
trap 'chmod -R u+w "$scratch" && rm -rf "$scratch" ${new:+"$new"}' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# pinned MODULE PROGRAM PACKAGE [BUILDER]: makes $scratch/PROGRAM, built from what
# test/recipes/MODULE pins. The cached file's name changes with that, with how it is
# built and with the Go version.
pinned() {
	local module=$recipes/$1 program=$2 package=$3 builder=${4:-build} key
	key=$(cat "$module/go.mod" "$module/go.sum" <(declare -f "$builder") <(go version) | git hash-object --stdin | cut -c1-12)
	if [[ ! -x $cache/$program-$key ]]; then
		mkdir -p "$cache"
		new=$(mktemp "$cache/$program-$key.XXXXXX")
		say "building $program from its Go module (once, some two minutes)"
		"$builder" "$module" "$package" "$new"
		mv "$new" "$cache/$program-$key"
		new=
	fi
	ln -s "$cache/$program-$key" "$scratch/$program"
}

build() { go -C "$1" build -buildvcs=false -trimpath -ldflags='-s -w' -o "$3" "$2" >&2; }

# few_stores builds External Secrets with its store for tests only: with the clients
# of all the clouds the build takes several times as long. What it registers is in two
# of its files; newer versions have build tags for it.
few_stores() {
	local copy=$scratch/stores list
	mkdir "$copy"
	cp "$1/go.mod" "$1/go.sum" "$copy/"
	go -C "$copy" mod vendor
	for list in provider generator; do
		chmod -R u+w "$copy/vendor/$2/pkg/$list/register"
		printf 'package register\n\nimport _ "%s/pkg/%s/fake"\n' "$2" "$list" >"$copy/vendor/$2/pkg/$list/register/register.go"
	done
	GOFLAGS=-mod=vendor build "$copy" "$2" "$3"
	rm -rf "$copy"
}

# files MODULE NAME: the directory of a pinned module's sources, for CRDs and charts.
files() {
	go -C "$recipes/$1" mod download "$2" >&2
	go -C "$recipes/$1" list -m -f '{{if .Replace}}{{.Replace.Dir}}{{else}}{{.Dir}}{{end}}' "$2"
}

if wanted sealed-secrets; then
	sealed=github.com/bitnami/sealed-secrets
	pinned sealedsecrets controller $sealed/cmd/controller
	pinned sealedsecrets kubeseal $sealed/cmd/kubeseal
	"$("$here/tool.sh" helm)" template sealed-secrets "$(files sealedsecrets $sealed)/helm/sealed-secrets" --namespace kube-system --include-crds \
		--set image.registry=providertoken.test,image.repository=sealed-secrets,image.tag=recipes >"$scratch/sealed-secrets.yaml"
fi
if wanted external-secrets; then
	eso=github.com/external-secrets/external-secrets
	pinned externalsecrets external-secrets $eso few_stores
	mkdir "$scratch/external-secrets-crds"
	cp "$(files externalsecrets $eso)/config/crds/bases/"*external-secrets.io_*.yaml "$scratch/external-secrets-crds/"
fi
if wanted reloader; then
	ln -s "$(realpath "$RELOADER")" "$scratch/reloader"
fi

say "building the operator's image, the simulated provider, the workload and the test"
go -C "$here/image" run -buildvcs=false . -tag ghcr.io/providertoken/operator:v0.1.0 -o "$scratch/operator.tar" >&2
(cd "$root" && go build -buildvcs=false -o "$scratch/" ./test/e2e/provider ./test/e2e/reader)
go -C "$recipes" test -c -buildvcs=false -vet=off -tags recipes -o "$scratch/recipes.test" .

started=$SECONDS
# As a child, so that a signal reaches it at once, and what was built goes in any case.
RECIPES_BUILD=$scratch RECIPES_DIST=$root/dist RECIPES_DOCUMENT=$root/docs/recipes.md E2E_CLUSTER=node \
	"$here/cluster.sh" "$scratch/recipes.test" -test.run '^TestRecipes$' -test.v -test.timeout 15m "$@" &
child=$!
trap 'kill -TERM "$child" 2>/dev/null || true' INT TERM
status=0
wait "$child" || status=$?
# A signal interrupts wait; the child cleans up and ends.
while kill -0 "$child" 2>/dev/null; do
	status=0
	wait "$child" || status=$?
done
wanted reloader || say "recipe reloader: not run, since RELOADER is not set"
say "cluster and recipes took $((SECONDS - started)) s, all $SECONDS s"
exit "$status"
