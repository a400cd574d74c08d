# SPDX-License-Identifier: Apache-2.0
#
# make alone prints what there is. make test is what a change has to pass.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

GO ?= go
FUZZTIME ?= 10s
BENCH ?= .
BENCHFLAGS ?=
RESULTS ?= $(lastword $(sort $(wildcard build/bench/*/results.json)))
ONLY ?=
COUNT ?= 1
PREFIX ?= /usr/local
DESTDIR ?=

TOOL = $(GO) tool -modfile=tools/go.mod

# Every package but the end-to-end tests.
PACKAGES = $(shell $(GO) list ./... | grep -v /e2e)

# Debian packages: to build and to run the demo, and what the tests want besides.
DEPS := gcc libc6-dev make nginx-light curl redis-server redis-tools iproute2 iputils-ping procps util-linux
TESTDEPS := musl-tools busybox-static dnsmasq-base bind9-dnsutils iperf3 wrk ethtool tshark clang-19 llvm-19 libbpf-dev python3 wireguard-go wireguard-tools passt slirp4netns sockperf socat
# What the benchmarks compare with, and run; libxdp for the C reference of bench-xsk.
BENCHDEPS := wrk iperf3 ethtool wireguard-go wireguard-tools passt slirp4netns sockperf linux-perf libxdp-dev

# Under sudo the checkout belongs to somebody else, and git would refuse to tell
# the version.
export GIT_CONFIG_COUNT := 1
export GIT_CONFIG_KEY_0 := safe.directory
export GIT_CONFIG_VALUE_0 := *

.PHONY: help deps testdeps benchdeps build preload generate fmt lint vet unit race fuzz ctest e2e test apps bench bench-quick bench-docs bench-tools microbench bench-xsk packetdrill simulation mutants interop demo install clean

help: ## print this
	@grep -hE '^[a-z0-9-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

deps: ## install missing Debian packages (with sudo if need be)
	@tools/deps.sh $(DEPS)

testdeps: ## install what the tests want besides
	@tools/deps.sh $(DEPS) $(TESTDEPS)

benchdeps: ## install what the benchmarks want besides
	@tools/deps.sh $(DEPS) $(BENCHDEPS)

build: preload ## build build/netcon and build/libnetcon.so
	$(GO) build -trimpath -o build/netcon ./cmd/netcon

preload: ## build build/libnetcon.so
	@$(MAKE) -C preload

generate: ## make generated files again
	$(GO) generate ./shm ./bpf

fmt: ## format Go files
	$(TOOL) gofumpt -w .

lint: vet ## vet, staticcheck, and no file that gofumpt would change
	$(TOOL) staticcheck ./...
	@out="$$($(TOOL) gofumpt -l .)"; if [ -n "$$out" ]; then \
		echo "not formatted (make fmt):" >&2; echo "$$out" >&2; exit 1; fi

vet: ## go vet
	$(GO) vet ./...

unit: ## unit tests, the short ones
	$(GO) test -short $(PACKAGES)

race: ## unit tests with the race detector
	$(GO) test -race $(PACKAGES)

fuzz: ## each fuzz target for FUZZTIME (10s)
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$pkg"; \
		done; \
	done

ctest: preload ## tests of the preload library, sanitizers included
	@$(MAKE) -C preload check

e2e: build ## end-to-end tests: stock programs through the real thing
	$(GO) test -count=1 -timeout 20m ./e2e/...

# The lanes go on after a failure, so that one run shows everything.
test: testdeps build lint ## all of it: lint, race, ctest, e2e; as root a skip is a failure
	@rm -rf build/tally; mkdir -p build/tally; $(GO) build -o build/gotally ./internal/gotally; status=0; \
	echo "== unit tests, race detector"; \
	$(GO) test -race -json $(PACKAGES) | build/gotally -o build/tally/unit || status=1; \
	echo "== preload library"; \
	$(MAKE) ctest 2>&1 | build/gotally -c -o build/tally/ctest || status=1; \
	echo "== end to end"; \
	$(GO) test -count=1 -timeout 20m -json ./e2e/... | build/gotally -o build/tally/e2e || status=1; \
	echo "== total"; \
	build/gotally -total build/tally/unit build/tally/ctest build/tally/e2e || status=1; \
	exit $$status

apps: build ## run every program of docs/apps.md on the kernel and under netcon (ONLY=REGEXP: some)
	cd e2e/apps && NETCON_APPS=long NETCON_ONLY='$(ONLY)' $(GO) test -count=1 -timeout 90m -run '^TestApps$$'

bench: benchdeps build bench-tools ## netcon beside what else carries the same traffic, as root, under 30 minutes, into build/bench
	build/netcon bench $(BENCHFLAGS)

bench-quick: benchdeps build bench-tools ## the same in under two minutes
	build/netcon bench -quick $(BENCHFLAGS)

bench-docs: ## write tables and plots of RESULTS (the newest of build/bench) into docs/bench.md and docs/bench
	build/netcon bench report -docs docs/bench.md $(RESULTS)

bench-tools: ## build the programs that the benchmarks run
	@$(MAKE) -C bench/tools
	$(GO) build -trimpath -o build/bench-tools/faultwire ./internal/testenv/faultwire

microbench: ## Go benchmarks (BENCH, COUNT) into build/bench.txt; compare two such files with benchstat
	@mkdir -p build
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PACKAGES) | tee build/bench.txt

bench-xsk: benchdeps ## AF_XDP beside a C reference on one veth pair, as root, into build/bench-xsk.txt
	@mkdir -p build
	$(GO) test -run '^$$' -bench '^BenchmarkReference$$' -benchmem -benchtime 1x -timeout 30m ./dataplane/xsk -reference | tee build/bench-xsk.txt
	$(TOOL) benchstat -col /side -ignore /pair build/bench-xsk.txt
	@grep '^# ' build/bench-xsk.txt

packetdrill: ## build build/packetdrill, which runs TCP scripts (see build/packetdrill --help)
	$(GO) build -trimpath -o build/packetdrill ./internal/packetdrill/cmd/packetdrill

simulation: ## 100,000 seeded runs of the native TCP engine, about 6 minutes on two cores
	$(GO) test -count=1 -timeout 60m ./dataplane/tcp -run 'TestSimulation$$' -sim.runs 100000 -v

mutants: ## seed bugs into the native TCP engine, one by one: tests have to find each, about 15 minutes
	$(GO) test -count=1 -timeout 90m ./dataplane/tcp -run '^TestMutants$$' -mutants . -v

interop: testdeps ## the native TCP engine against the Linux kernel, over a veth, as root (NETCON_INTEROP=long: and its goodput)
	@mkdir -p build
	NETCON_INTEROP_OUT=$(CURDIR)/build/interop $(GO) test -count=1 -timeout 20m -tags interop -v ./internal/tcphost

demo: deps build ## the two-minute tour
	build/netcon demo

install: build ## install below PREFIX (/usr/local)
	install -D -m 755 build/netcon $(DESTDIR)$(PREFIX)/bin/netcon
	install -D -m 755 build/libnetcon.so $(DESTDIR)$(PREFIX)/lib/netcon/libnetcon.so
	install -D -m 644 dist/netcon.toml $(DESTDIR)$(PREFIX)/share/doc/netcon/netcon.toml
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|/usr/local/|$(PREFIX)/|' dist/netcon.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/netcon.service

clean: ## remove what was built
	rm -rf build
