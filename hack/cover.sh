#!/usr/bin/env bash
# Fails when the tests of a package cover less of it than the given percentage.
#
#   hack/cover.sh PERCENT PACKAGE…
set -euo pipefail

percent=${1:?usage: hack/cover.sh PERCENT PACKAGE…}
shift
go test -timeout=5m -cover "$@" | awk -v least="$percent" '
	{ print }
	/^(FAIL|---)/ { bad = 1 }
	match($0, /coverage: [0-9.]+%/) {
		seen++
		covered = substr($0, RSTART + 10, RLENGTH - 11)
		name = $1 == "ok" ? $2 : $1 # a package without tests has no verdict before its name
		if (covered + 0 < least + 0) { printf "%s: %s%% covered, %s%% wanted\n", name, covered, least; bad = 1 }
	}
	/no test files/ { printf "%s: no tests\n", $2; bad = 1 }
	END { exit bad || !seen }'
