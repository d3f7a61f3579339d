# The two commands that matter: `make run` and `make test`. Each installs what it needs.

SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH)
CARGO ?= cargo

# The backend that `make run` stands in front of; empty: the simulator.
BACKEND ?=
# The profile that `make run` builds: dev is quick to build and shared with the tests, release is fast.
PROFILE ?= dev
BIN = target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

.PHONY: help run sim build test test-rust test-sdk test-llmock test-prices test-llama test-board test-k8s test-docker test-image image lint contract bench model eval-cache calibrate-cache setup setup-test test-build

help:
	@echo "make run                          Outrigger in front of the simulator, on 127.0.0.1:8080"
	@echo "make run BACKEND=http://host:8000 Outrigger in front of your model server"
	@echo "make test                         every test"
	@echo "make sim                          the simulated model server alone, on 127.0.0.1:8000"
	@echo "make image                        the container's image, outrigger:latest, with Docker or Podman"
	@echo "make test-image                   the image built and run, alone and by Docker Compose (root, Debian)"
	@echo "make contract                     the openai SDK's own tests through Outrigger"
	@echo "make bench                        the figures of the README, made again"
	@echo "make model                        the embedding model, into models/minilm"
	@echo "make eval-cache                   what matching by meaning serves, and how much of it wrongly"
	@echo "make build                        the release binaries"

setup:
	@scripts/setup build

setup-test:
	@scripts/setup test

model: setup
	$(CARGO) build --profile $(PROFILE) --workspace --bins
	@scripts/model $(BIN)/outrigger

run: setup
	$(CARGO) build --profile $(PROFILE) --workspace --bins
	@scripts/model $(BIN)/outrigger || echo "There is no embedding model: nothing is matched by meaning. All else works."
	@scripts/run $(BIN) $(BACKEND)

sim: setup
	$(CARGO) build --profile $(PROFILE) -p outrigger-loadtests
	$(BIN)/outrigger-sim --listen 127.0.0.1:8000 --ttft-ms 200 --gap-ms 30

build: setup
	$(CARGO) build --release --workspace --bins --example bare_pingora --example collector

test: setup-test lint test-docker test-rust test-board test-k8s test-sdk test-llmock test-prices test-llama

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# One build serves all tests: with the tests' own dependencies, so that none is built twice.
test-build: setup-test
	$(CARGO) build --workspace --bins --tests --locked
	@scripts/model target/debug/outrigger

test-rust: test-build
	$(CARGO) test --workspace --locked

test-board: test-build
	tests/board/check

# What stands in docker/, run by nobody.
test-docker: setup-test
	tests/image/run.sh files

# Not part of `make test`: it makes a Debian first, which takes a minute or two.
test-image: test-build
	@scripts/setup image
	$(CARGO) build --locked --workspace --example collector
	tests/image/run.sh image

image:
	$(if $(shell command -v docker),docker,podman) build -f docker/Dockerfile -t outrigger:latest $(if $(shell command -v docker),,--format docker) .

test-k8s: test-build
	tests/k8s/run.sh

test-sdk: test-build
	tests/sdk/run.sh

test-llmock: test-build
	tests/llmock/run.sh

test-prices: test-build
	$(CARGO) build --locked --workspace --example price
	tests/prices/run.sh

test-llama: test-build
	tests/llama/run.sh

contract: test-build
	tests/contract/run.sh

eval-cache: model
	$(CARGO) build --profile $(PROFILE) --workspace --example eval_cache
	$(BIN)/examples/eval_cache

calibrate-cache: model
	$(CARGO) build --profile $(PROFILE) --workspace --example eval_cache
	$(BIN)/examples/eval_cache calibrate > target/weights.rs
	mv target/weights.rs filters/src/semantic_cache/meaning/decide/weights.rs

bench: build
	scripts/bench
