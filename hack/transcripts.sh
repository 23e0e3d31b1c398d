#!/usr/bin/env bash
# Writes docs/transcripts.md: each command of kubectl providertoken, at work on the demo.
#
#   hack/transcripts.sh [FILE]     docs/transcripts.md when left out
set -euo pipefail

case ${1-} in
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" && exit ;;
esac
page=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../docs/transcripts.md}")

cd "$(dirname "${BASH_SOURCE[0]}")/.."
assets=$(hack/kube.sh)
scratch=$(mktemp -d)
demo=
cleanup() {
	if [[ -n $demo ]]; then kill "$demo" 2>/dev/null || true; fi
	wait || true
	rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make -s build plugin
go build -buildvcs=false -o "$scratch/demo" ./hack/demo
mkdir "$scratch/bin"
ln -s "$PWD/bin/kubectl-providertoken" "$scratch/bin/kubectl-providertoken"
ln -s "$assets/kubectl" "$scratch/bin/kubectl"
PATH=$scratch/bin:$PATH

DEMO_SECONDS=280 KUBEBUILDER_ASSETS=$assets "$scratch/demo" -manager bin/manager -trouble >"$scratch/demo.log" 2>&1 &
demo=$!
until KUBECONFIG=$(sed -n 's/.*export KUBECONFIG=\([^;]*\);.*/\1/p' "$scratch/demo.log") && [[ -n $KUBECONFIG ]]; do
	kill -0 "$demo" || { cat "$scratch/demo.log" >&2 && exit 1; }
	sleep 0.5
done
export KUBECONFIG
kubectl config set-context --current --namespace=demo >/dev/null
kubectl wait --for=jsonpath='{.status.failure.reason}'=LoginFrozen --timeout=240s ptok/up42 >/dev/null
cp hack/demo/manifests/plantpredict.yaml "$scratch/team.yaml"

# show COMMAND… prints a transcript; what a command exits with is told where it is not 0.
show() {
	local status=0 shown
	shown=$(printf '%s ' "$@")
	printf '\n```text\n$ kubectl providertoken %s\n' "${shown% }"
	(cd "$scratch" && timeout --preserve-status --signal=INT "${limit:-30}" kubectl providertoken "$@") 2>&1 | sed "s|$scratch/||g" || status=${PIPESTATUS[0]}
	if ((status)); then printf '[exit code %d]\n' "$status"; fi
	printf '```\n'
}

{
	cat <<-'TEXT'
		# The plugin on the demo

		What each command of [`kubectl providertoken`](kubectl-plugin.md) prints while the demo runs with providers that fail on purpose (`bin/demo -trouble`): somebody
		changed UP42's password, PlantPredict is down, and tokens live for 30 s. Written by `hack/transcripts.sh`, not by hand.

		## See
	TEXT
	show list
	show status up42
	show status plantpredict
	limit=5 show watch
	printf '\n## Steer\n'
	show refresh spatiafi-app --wait --timeout=20s
	show refresh up42 --wait --timeout=20s
	show suspend spatiafi-login
	show resume spatiafi-login
	show thaw up42 --wait
	printf '\n## Bring a provider in\n'
	show providers
	show providers GitHubApp
	show init PlantPredict --name=forecast --without-values
	show lint team.yaml
	show try up42-project --allow-network=127.0.0.0/8 --yes
	show provision -help
} >"$scratch/page.md"
mv "$scratch/page.md" "$page"
echo "$page"
