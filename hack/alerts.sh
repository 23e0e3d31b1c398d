#!/usr/bin/env bash
# Checks the alert rules with Prometheus' own promtool, and plays test/alerts/*.yaml:
# for each alert what lets it fire, and what does not.
#
#   hack/alerts.sh
#
# promtool comes from Debian's package prometheus, which is installed where it is
# missing (as root), without starting its service.
set -euo pipefail

case ${1-} in
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" && exit ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v promtool >/dev/null || hack/packages.sh prometheus

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

go run -buildvcs=false ./hack/alerts "$scratch"
cp test/alerts/*.yaml "$scratch"
promtool check rules "$scratch/rules.yaml"
promtool test rules "$scratch"/*_alerts.yaml
