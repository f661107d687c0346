# Six words: setup demo test check format bench.
# Each works on a fresh machine: it sets up what it needs first, and that costs nothing twice.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := setup
.PHONY: setup demo test check format bench

BIN := .venv/bin
# Numeric libraries, browsers and containers share the cores: one thread each.
export OMP_NUM_THREADS ?= 1

# Text games of two rooms and a coin; the model may say only what is possible, and is shown it: it
# has 135 million parameters, and follows no instructions.
DEMO_ENV ?= agentgym/TextWorld-v0?family=coin&level=2
DEMO_ARGS ?= --policy oracle --policy random --policy smollm2 --constrain --show-admissible \
  --limit 8 --max-turns 8 --temperature 0.3 --max-tokens 24
DEMO_OUT ?= runs/demo
PYTEST_ARGS ?= -n 2 --dist worksteal
BENCH_ARGS ?= --quick

setup:  ## everything the other words need
	@scripts/setup.sh system python transformers model browser docker base

demo:  ## an oracle, a random player and a small language model play; leaves $(DEMO_OUT)
	@scripts/setup.sh system python model
	$(BIN)/agentgym eval '$(DEMO_ENV)' $(DEMO_ARGS) --out $(DEMO_OUT) --resume

test:  ## set-up, static checks, tests: what CI runs
	@scripts/setup.sh system python transformers model browser docker base
	@scripts/check.sh
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check:  ## static checks only: ruff, codespell, mypy on the built wheel
	@scripts/setup.sh system python
	@scripts/check.sh

format:  ## rewrite the code as ruff wants it
	@scripts/setup.sh system python
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench:  ## every benchmark; BENCH_ARGS= for the long form
	@scripts/setup.sh system python model
	@shopt -s nullglob; for script in benchmarks/[!_]*.py; do \
	  echo "== $$script"; $(BIN)/python "$$script" $(BENCH_ARGS); done
