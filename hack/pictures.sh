#!/usr/bin/env bash
# Takes the pictures of docs/images. demo.png: what make demo shows in a terminal.
# dashboard.png: a real Prometheus with the alert rules looks at the demo while its
# providers fail on purpose for five minutes; then the dashboard's panels are drawn from
# what it saw.
#
#   hack/pictures.sh [DIRECTORY]     docs/images when left out
#
# Prometheus and Chromium come from Debian's packages, which are installed where they
# are missing (as root).
set -euo pipefail

case ${1-} in
-h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "${BASH_SOURCE[0]}" && exit ;;
esac
images=$(realpath -m "${1:-$(dirname "${BASH_SOURCE[0]}")/../docs/images}")

cd "$(dirname "${BASH_SOURCE[0]}")/.."
hack/packages.sh prometheus chromium
assets=$(hack/kube.sh)
scratch=$(mktemp -d)
children=()
cleanup() {
	for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
	wait || true
	rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

port() { go run -buildvcs=false ./hack/pictures/port; }
operator=127.0.0.1:$(port) prometheus=127.0.0.1:$(port)

go run -buildvcs=false ./hack/alerts "$scratch"
cat >"$scratch/prometheus.yaml" <<YAML
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
- job_name: providertoken
  static_configs: [{targets: ["$operator"]}]
YAML

make -s build
go build -buildvcs=false -o "$scratch/demo" ./hack/demo
go build -buildvcs=false -o "$scratch/pictures" ./hack/pictures

shoot() { # URL FILE WIDTH,HEIGHT
	chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --force-color-profile=srgb --virtual-time-budget=8000 \
		--user-data-dir="$scratch/chromium" --window-size="$3" --screenshot="$2" "$1" >>"$scratch/chromium.log" 2>&1
}

mkdir -p "$images"
export KUBEBUILDER_ASSETS=$assets
TERM=xterm-256color CI='' DEMO_SECONDS=60 script --quiet --return \
	--command "stty cols 150 rows 60; '$scratch/demo' -manager bin/manager" "$scratch/terminal" >/dev/null </dev/null
"$(hack/tool.sh terminal-to-html)" --preview --no-timestamps --window-cols=150 --window-lines=60 \
	< <(sed '/^Script \(started\|done\) on/d' "$scratch/terminal") >"$scratch/demo.html"
shoot "file://$scratch/demo.html" "$images/demo.png" 1240,355

DEMO_SECONDS=290 "$scratch/demo" -manager bin/manager -metrics "$operator" -trouble >"$scratch/demo.log" 2>&1 &
children+=($!)
demo=$!
prometheus --config.file="$scratch/prometheus.yaml" --storage.tsdb.path="$scratch/tsdb" --web.listen-address="$prometheus" >"$scratch/prometheus.log" 2>&1 &
children+=($!)

# Debian's Prometheus comes without its web pages; what fires is on the dashboard.
sleep "${PICTURE_AFTER:-270}" &
wait $!
kill -0 "$demo" || { cat "$scratch/demo.log" && exit 1; }
"$scratch/pictures" -prometheus "http://$prometheus" -minutes 5 >"$scratch/page.html"
shoot "file://$scratch/page.html" "$images/dashboard.png" 1366,1620
ls -l "$images"
