#!/usr/bin/env bash
# Runs every fuzz target for the given number of seconds, one after the other.
#
#   hack/fuzz.sh SECONDS
set -euo pipefail

seconds=${1:?usage: hack/fuzz.sh SECONDS}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

grep -rl --include='*_test.go' '^func Fuzz' internal | xargs -n1 dirname | sort -u | while read -r package; do
	sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$package"/*_test.go | sort -u | while read -r target; do
		echo "$package $target"
		go test -run='^$' -fuzz="^$target\$" -fuzztime="${seconds}s" "./$package" </dev/null
	done
done
