#!/usr/bin/env bash
# Sees to it that programs are there which no Go module brings:
#
#   hack/packages.sh PROGRAM…
#
# Those that are missing are installed on Debian and its like, as root, from the
# package of the same name, without starting a service of theirs; elsewhere it says
# what to install, and fails.
set -euo pipefail

say() { echo "hack/packages.sh: $*" >&2; }

missing=()
for program in "$@"; do
	command -v "$program" >/dev/null || missing+=("$program")
done
((${#missing[@]} > 0)) || exit 0

if ! command -v apt-get >/dev/null || (($(id -u) != 0)); then
	say "not installed: ${missing[*]}; do: apt-get install ${missing[*]} (or the like of your system, as root)"
	exit 1
fi

scratch=$(mktemp -d)
policy=/usr/sbin/policy-rc.d
cleanup() {
	[[ ! -e $scratch/policy ]] || rm -f "$policy"
	rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "installing ${missing[*]} with apt-get"
if [[ ! -e $policy ]]; then
	touch "$scratch/policy"
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install -q -y --no-install-recommends "${missing[@]}")
"${install[@]}" >"$scratch/log" 2>&1 || { apt-get update -q && "${install[@]}"; } >"$scratch/log" 2>&1 || {
	tail -n 20 "$scratch/log" >&2
	say "apt-get could not install ${missing[*]}"
	exit 1
}
