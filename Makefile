# make, or make help, lists the targets.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
# The commit's date, not today's: the same commit gives the same binary.
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null)
# Without gRPC's debug pages and the templates that they pull in, the linker can leave
# out methods that nothing calls: 5 MB.
TAGS    := grpcnotrace
LDFLAGS := -s -w -buildid= -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

OUT     ?= bin/connector
GOARCH  ?= $(shell go env GOARCH)

FUZZTIME  ?= 30s
BENCHTIME ?= 1s
BENCH     ?= .

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/connector, a static binary
	CGO_ENABLED=0 GOARCH=$(GOARCH) go build -tags $(TAGS) -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(OUT) ./cmd/connector

.PHONY: image
image: ## Build the image for amd64 and arm64 into dist/, with buildah
	.ci/image

.PHONY: demo
demo: ## See pops flow: simulator, broker and connector in one process
	go run ./cmd/connector demo

.PHONY: test
test: ## Run the tests
	go test ./...

.PHONY: race
race: ## Run the short tests with the race detector
	go test -race -short ./...

.PHONY: faults
faults: ## Run the fault suite: kills, outages, full disks, damage, bad networks
	CONNECTOR_FAULTS=$${CONNECTOR_FAULTS:-quick} go test ./internal/faults -run Fault -count=1 -v -timeout 2h

.PHONY: upgrades
upgrades: ## Upgrade twenty times under 2,000 sessions and 2,000 pops a second
	CONNECTOR_UPGRADES=full go test ./cmd/connector -run TwentyUpgrades -count=1 -v -timeout 10m

.PHONY: lint
lint: ## Run golangci-lint, pinned, built on first use
	.ci/lint

.PHONY: contracts
contracts: ## Check the event contracts: valid, and compatible with the last version
	.ci/contracts

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME
	.ci/fuzz $(FUZZTIME) ./config ./internal/spool ./internal/telemetry ./schema ./schema/consume ./source ./source/callback ./source/capture ./source/frame ./source/lqsim ./source/pop ./source/relay

.PHONY: bench
bench: ## Measure every figure of docs/performance.md and write it there: hours
	CONNECTOR_BENCH=full go test ./internal/bench -run Figures -count=1 -v -timeout 12h

.PHONY: bench-targets
bench-targets: ## The same in short runs, medians for the targets alone: three quarters of an hour
	CONNECTOR_BENCH=targets go test ./internal/bench -run Figures -count=1 -v -timeout 3h

.PHONY: bench-quick
bench-quick: ## The same, one short run of each: some minutes
	CONNECTOR_BENCH=quick go test ./internal/bench -run Figures -count=1 -v -timeout 2h

STAGES ?= ./source ./source/frame ./source/pop ./schema ./internal/spool ./sink ./sink/natssink ./sink/kafkasink
COUNT  ?= 6

.PHONY: bench-stages
bench-stages: ## Benchmark each stage COUNT times, those that match BENCH; for benchstat
	@go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -cpu 1 -count $(COUNT) -timeout 2h $(STAGES)

.PHONY: benchstat
benchstat: ## Compare two outputs of bench-stages: make benchstat OLD=a.txt NEW=b.txt
	@go run golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da $(OLD) $(NEW)

.PHONY: ci
ci: ## Run everything that a change must pass
	bash .ci/run

.PHONY: chart-docs
chart-docs: ## Make the chart's README of its values
	.ci/chart-tools
	.cache/charts/helm-docs --chart-search-root charts/connector --sort-values-order file

.PHONY: chart
chart: ## Test the Helm chart
	.ci/chart-tools
	go test ./charts

.PHONY: chart-slow
chart-slow: ## Test the chart in a real API server too, and with Helm 4; builds them on first use
	.ci/chart-tools --slow
	CONNECTOR_CHART=slow go test ./charts -count=1 -v -run 'Cluster|EveryExample'
