# Everything here needs Go and make only; other tools are built from the modules
# that hack/tools and hack/kube pin, into the user's cache.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# The image that build-installer, deploy, image and docker-build speak of; for the
# first two, when left out, the one that config/manager names.
IMG ?=
KUBECTL ?= kubectl
DOCKER ?= docker
# How long one fuzz target runs under "make fuzz".
FUZZ_SECONDS ?= 10
# How often "make crash" kills the operator, and the seed of its plans (a new one when empty).
CRASHES ?= 300
SEED ?=
# The longest that "make stalls" holds an operator up at a time.
STALLS ?= 500ms
# How often "make microbench" runs each benchmark; benchstat wants at least 6.
COUNT ?= 6
# What "make bench" measures (see "bin/bench --help"), and further flags of bin/bench.
BENCH ?= 3000x300s
BENCHFLAGS ?=
# The scenarios of docs/benchmarks.md.
REPORT ?= 300x90s 1000x300s 3000x300s 10000x300s restart foreign-secrets fairness outage
# Further flags of go test, such as -count=1 or -v.
TESTFLAGS ?=
# The smallest coverage of each pure package, in percent.
COVERAGE ?= 90

pure := token provider exchange schedule target consent
# Modules of their own, with tests of their own: what they need is none of the operator's.
modules := hack/image test/alerts test/crash test/faults test/gitops test/recipes test/formats hack/bench
# The race detector needs a C compiler; CGO_ENABLED is 0 where Go finds none.
race := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

##@ Everyday

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/manager.
	go build -trimpath -buildvcs=false -ldflags='-X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/manager .

.PHONY: plugin
plugin: ## Build bin/kubectl-providertoken; on the PATH, kubectl knows it as "kubectl providertoken".
	go build -trimpath -buildvcs=false -ldflags='-s -w -X main.version=$(VERSION)' -o bin/kubectl-providertoken ./cmd/kubectl-providertoken

.PHONY: krew
krew: ## Build the plugin's archives for Linux, macOS and Windows into bin/krew, and the manifest for krew with their checksums.
	go run -buildvcs=false ./hack/krew -version '$(VERSION)' -o bin/krew

.PHONY: demo
demo: build ## Show the operator at work against simulated providers; DEMO_SECONDS=n ends it by itself.
	@go build -buildvcs=false -o bin/demo ./hack/demo
	@assets=$$(hack/kube.sh) && KUBEBUILDER_ASSETS=$$assets exec bin/demo -manager bin/manager

.PHONY: cluster
cluster: ## Bring up a cluster (KUBECONFIG's, kind's, or a node of its own on Linux) and keep it until Ctrl-C.
	KEEP=1 hack/cluster.sh true

.PHONY: clean
clean: ## Remove what was built here (not the cache outside the checkout).
	rm -rf bin cover.out

##@ Checks

.PHONY: test
test: ## Run all tests that need no node: unit, property, fuzz seeds, conformance, envtest, chart, image, Argo CD's and Flux's judgement.
	@hack/tool.sh helm >/dev/null; hack/tool.sh kustomize >/dev/null
	assets=$$(hack/kube.sh) && export KUBEBUILDER_ASSETS=$$assets && go test $(race) $(TESTFLAGS) -timeout=20m ./... && \
		for module in $(modules); do (cd $$module && GOWORK=off go test $(TESTFLAGS) -timeout=20m ./...) || exit; done

.PHONY: stalls
stalls: ## Run the suites that drive operators while these are held up at random, for up to STALLS each time (half an hour).
	assets=$$(hack/kube.sh) && export KUBEBUILDER_ASSETS=$$assets STALLS=$(STALLS) && go test -count=1 $(TESTFLAGS) -timeout=1h ./internal/controller \
		$(addprefix ./test/,attacks disaster leaks privilege scale shards) && cd test/faults && GOWORK=off go test -count=1 $(TESTFLAGS) -timeout=1h ./cluster

.PHONY: e2e
e2e: ## Run the end-to-end suite on a real cluster: KUBECONFIG's, kind's, or a node of its own (Linux, root).
	hack/e2e.sh

.PHONY: e2e-argocd
e2e-argocd: ## Let a real Argo CD install and keep everything from a Git repository.
	hack/argocd/run.sh

.PHONY: e2e-recipes
e2e-recipes: ## Try the recipes of docs/recipes.md with the tools that they are for.
	hack/recipes.sh

.PHONY: crash
crash: ## Kill the operator CRASHES times in all, at every step and at random, under load, as a leader, with wrong passwords; SEED=n repeats a run's plans.
	assets=$$(hack/kube.sh) && cd test/crash && KUBEBUILDER_ASSETS=$$assets CRASHES=$(CRASHES) SEED=$(SEED) GOWORK=off \
		go test -tags crash -count=1 -run NoCrash -parallel 8 -v -timeout 2h .

.PHONY: bench
bench: build bin/bench ## Measure what tokens cost: API requests, CPU, memory, lateness; BENCH=scenario (3000x300s: six minutes; 300x90s, restart, smoke, …).
	@assets=$$(hack/kube.sh) && KUBEBUILDER_ASSETS=$$assets exec bin/bench $(BENCHFLAGS) $(BENCH)

.PHONY: bin/bench
bin/bench:
	@GOWORK=off go -C hack/bench build -buildvcs=false -o ../../bin/bench .

.PHONY: bench-report
bench-report: ## Run every benchmark on a quiet machine (half an hour), and write docs/benchmarks.md with its plots.
	@$(MAKE) --no-print-directory bench BENCH='$(REPORT)' BENCHFLAGS='--out docs/benchmarks --report docs/benchmarks.md $(BENCHFLAGS)'

.PHONY: faults
faults: ## Put providers through every fault again, and write what is seen into docs/faults.md.
	assets=$$(hack/kube.sh) && cd test/faults && KUBEBUILDER_ASSETS=$$assets GOWORK=off go test -count=1 ./providers -args -update

.PHONY: formats
formats: ## Let the programs that docs/formats.md is for read what the operator writes.
	hack/formats.sh

.PHONY: microbench
microbench: ## Measure decode, render, observe, schedule, the exchange scheduler and reconciles, COUNT times each: input for benchstat.
	@go test -run='^$$' -bench=. -count=$(COUNT) $(TESTFLAGS) ./internal/provider ./internal/target ./internal/schedule ./internal/exchange ./internal/controller

.PHONY: alerts
alerts: ## Check the alert rules with promtool, and play what lets each fire, and what does not.
	hack/alerts.sh

.PHONY: pictures
pictures: ## Let a real Prometheus look at the demo while its providers fail, and draw docs/images from what it saw.
	hack/pictures.sh

.PHONY: cover
cover: ## Check that the pure packages' tests cover at least COVERAGE percent.
	hack/cover.sh $(COVERAGE) $(addprefix ./internal/,$(pure))

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZ_SECONDS.
	hack/fuzz.sh $(FUZZ_SECONDS)

.PHONY: verify
verify: ## Check generated files, format, vet, lint, go.mod files, manifests, coverage, vulnerabilities.
	hack/verify.sh

.PHONY: lint
lint: ## Run golangci-lint.
	tool=$$(hack/tool.sh golangci-lint) && $$tool run

.PHONY: vet
vet: ## Run go vet.
	go vet ./...

##@ Changes

.PHONY: generate
generate: ## Write deep copies and CRDs from the Go sources, and what else is generated.
	hack/generate.sh .

.PHONY: fmt
fmt: ## Format the Go sources.
	tool=$$(hack/tool.sh golangci-lint) && $$tool fmt

##@ Installation

.PHONY: build-installer
build-installer: ## Write dist/ (crds.yaml, install.yaml, install-namespaced.yaml, the chart's files), for IMG if given.
	hack/manifests.sh $(IMG)

.PHONY: install
install: ## Apply the CRDs to the cluster of the current kubeconfig.
	$(KUBECTL) apply --server-side -f dist/crds.yaml

.PHONY: uninstall
uninstall: ## Delete the CRDs, and with them every object of these kinds and every token.
	$(KUBECTL) delete --ignore-not-found -f dist/crds.yaml

.PHONY: deploy
deploy: install ## Apply CRDs and operator.
	$(KUBECTL) apply --server-side -f dist/install.yaml

.PHONY: undeploy
undeploy: ## Delete the operator. CRDs, ProviderTokens and tokens stay.
	$(KUBECTL) delete --ignore-not-found -f dist/install.yaml

.PHONY: image
image: ## Build bin/image.tar (as docker save writes it), bin/image (OCI layout, amd64 and arm64) and SBOMs, without Docker.
	mkdir -p bin
	go -C hack/image build -buildvcs=false -o ../../bin/image-builder .
	bin/image-builder -o bin/image.tar -oci bin/image -tag '$(or $(IMG),ghcr.io/providertoken/operator:$(VERSION))' -version '$(VERSION)' -commit '$(COMMIT)'

.PHONY: docker-build
docker-build: ## Build the same image with Docker.
	$(DOCKER) build --build-arg VERSION='$(VERSION)' --build-arg COMMIT='$(COMMIT)' -t '$(or $(IMG),ghcr.io/providertoken/operator:$(VERSION))' .
