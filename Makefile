# make, or make help, lists the targets.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
# The commit's date, not today's: the same commit gives the same binary.
DATE    ?= $(shell git log -1 --format=%cI 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

FUZZTIME  ?= 30s
BENCHTIME ?= 1s
BENCH     ?= .

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/connector, a static binary
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/connector ./cmd/connector

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

.PHONY: lint
lint: ## Run golangci-lint, pinned, built on first use
	.ci/lint

.PHONY: contracts
contracts: ## Check the event contracts: valid, and compatible with the last version
	.ci/contracts

.PHONY: fuzz
fuzz: ## Fuzz each target of frame and pop for FUZZTIME
	.ci/fuzz $(FUZZTIME) ./source/frame ./source/pop

.PHONY: bench
bench: ## Run the benchmarks that match BENCH, each for BENCHTIME
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

.PHONY: ci
ci: ## Run everything that a change must pass
	bash .ci/run
