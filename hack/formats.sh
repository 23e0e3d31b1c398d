#!/usr/bin/env bash
# Lets the programs of docs/formats.md read what the operator writes for them: all
# must be there, and are installed where that is possible (see hack/packages.sh).
# "make test" runs the same, without those that are missing.
#
#   hack/formats.sh [FLAG OF GO TEST…]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/hack/packages.sh" curl git python3 rclone npm
# Programs whose package has another name.
command -v gdalinfo >/dev/null || "$root/hack/packages.sh" gdal-bin
command -v pip3 >/dev/null || command -v pip >/dev/null || "$root/hack/packages.sh" python3-pip
command -v aws >/dev/null || "$root/hack/packages.sh" awscli
cd "$root/test/formats"
FORMATS_PROGRAMS=required GOWORK=off go test -count=1 "$@" ./...
