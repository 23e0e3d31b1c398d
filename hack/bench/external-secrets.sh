#!/usr/bin/env bash
# Gives External Secrets, with its webhook generator, the work of a scenario:
#
#   [QPS=n] hack/bench/external-secrets.sh CONCURRENT SCENARIO [FLAGS OF bin/bench]
#
# QPS lifts its limit of 50 requests per second to the API server (twice as many at once).
#
# It is built once, from a checkout of its repository: SOURCE=directory, or cloned. Of its
# stores and generators only "fake" and "webhook" are compiled in, since the clients of all
# clouds take ten times as long to build (and more memory at work).
set -euo pipefail

version=v2.9.0
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/providertoken/tools/external-secrets-$version-webhook

if (($# < 2)); then
	sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
	exit 2
fi
concurrent=$1 scenario=$2
shift 2

if [[ ! -x $cache/external-secrets ]]; then
	scratch=$(mktemp -d)
	trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT
	if [[ -n ${SOURCE:-} ]]; then
		git -C "$SOURCE" archive "$version" | tar -x -C "$scratch"
	else
		git clone --quiet --depth 1 --branch "$version" https://github.com/external-secrets/external-secrets "$scratch"
	fi
	module=github.com/external-secrets/external-secrets
	cat >"$scratch/pkg/register/generators.go" <<-GO
		package register

		import (
			generators "$module/apis/generators/v1alpha1"
			"$module/generators/v1/webhook"
		)

		func init() { generators.Register(webhook.Kind(), webhook.NewGenerator()) }
	GO
	mkdir -p "$cache/crds"
	cp "$scratch/config/crds/bases/"*external-secrets.io_*.yaml "$cache/crds/"
	(cd "$scratch" && GOWORK=off GOFLAGS=-mod=mod CGO_ENABLED=0 go build -buildvcs=false -trimpath -tags fake,webhook -ldflags='-s -w' -o "$cache/external-secrets" . >&2)
fi

# When to replace a token, which it does not know by itself: in the middle of the time in
# which the other operator does.
lifetime=${scenario#*x}
lifetime=${lifetime%s}
interval=$((lifetime * 11 / 20))
((lifetime >= 200)) || interval=$((lifetime * 6 / 10))

peer=external-secrets-c$concurrent flags=--concurrent=$concurrent
note='External Secrets 2.9.0 with its webhook generator; webhook and fake stores only are compiled in'
if [[ -n ${QPS:-} ]]; then
	peer+=-qps$QPS flags+=" --client-qps=$QPS --client-burst=$((2 * QPS))"
	note+="; $QPS requests per second to the API server instead of 50"
fi

make -C "$root" --no-print-directory bin/bench
KUBEBUILDER_ASSETS=$("$root/hack/kube.sh")
export KUBEBUILDER_ASSETS
cd "$root"
exec bin/bench --peer "$peer" \
	--operator "env KUBECONFIG={{.AdminKubeconfig}} $cache/external-secrets $flags --metrics-addr={{.Metrics}} --live-addr={{.Health}}" \
	--objects-template hack/bench/objects/external-secrets.yaml --install "$cache/crds" \
	--secret-selector reconcile.external-secrets.io/managed=true --controller externalsecret \
	--interval "${interval}s" --note "$note" "$@" "$scenario"
