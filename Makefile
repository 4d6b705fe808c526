# `make help` lists what there is. Everything happens in ./.venv; package registries are the only network.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?=
PORT ?= 9000
DATA ?= .orchestrator
ARGS ?=
PYTEST_ARGS ?=
COMPILED ?=

BIN := .venv/bin
INSTALL := scripts/uv.sh pip install
CODE := src clients tests benchmarks scripts
# With COMPILED=1 the service and the tests run the compiled form of the data plane.
FORM := $(if $(COMPILED),build/compiled/.made)
WITH := $(if $(COMPILED),PYTHONPATH=$(CURDIR)/build/compiled)

.PHONY: help install lock compiled up down logs test unit fault attack check format docs bench bench-gateway bench-history bench-placement bench-registry bench-tasks bench-transfers clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
	@echo
	@echo 'Variables: PORT=9000 DATA=.orchestrator ARGS="--gguf FILE" (up), PYTEST_ARGS="-k name" (tests), COMPILED=1 (up, test),'
	@echo '           UPGRADE=1 (lock), PYTHON=/path/to/python3.11 (install)'

# Stamps: nothing is installed again until a pin or the package's own metadata changes.
.venv/.build: requirements/build.txt scripts/venv.sh
	@echo 'Making .venv ...'
	@scripts/venv.sh $(PYTHON)
	@touch $@

.venv/.runtime: .venv/.build requirements/runtime.txt pyproject.toml clients/python/pyproject.toml
	@echo 'Installing the service ...'
	@$(INSTALL) --require-hashes -r requirements/runtime.txt
	@$(INSTALL) --no-deps --no-build-isolation -e . -e clients/python
	@touch $@

.venv/.dev: .venv/.runtime requirements/lock.txt
	@echo 'Installing tests and checks ...'
	@$(INSTALL) --require-hashes -r requirements/lock.txt
	@touch $@

install: .venv/.runtime ## Make .venv with the `orchestrator` command in it
	@$(BIN)/orchestrator version

lock: .venv/.build ## Write the hashed requirement files again (UPGRADE=1: newest releases)
	@scripts/lock.sh

build/compiled/.made: .venv/.dev scripts/compile.py $(shell find src -name '*.py')
	@echo 'Compiling the data plane ...'
	@mkdir -p build
	@$(BIN)/python scripts/compile.py >build/compile.log 2>&1 || { tail -20 build/compile.log; exit 1; }
	@touch $@

compiled: build/compiled/.made ## Compile the data plane to build/compiled (needs a C compiler)

up: .venv/.runtime $(FORM) ## Start the service in the background on PORT and say what to try
	@$(WITH) $(BIN)/python scripts/service.py up --port $(PORT) --data-dir $(DATA) -- $(ARGS)

down: ## Stop what `make up` started
	@if [[ -x $(BIN)/python ]]; then $(BIN)/python scripts/service.py down --data-dir $(DATA); fi

logs: ## Show the end of the log of `make up`
	@if [[ -x $(BIN)/python ]]; then $(BIN)/python scripts/service.py logs --data-dir $(DATA); fi

test: .venv/.dev $(FORM) ## Run all tests, on three processes
	@$(WITH) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

unit: .venv/.dev ## Run the unit tests only
	@$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

fault: .venv/.dev ## Run the tests that kill nodes and break streams
	@$(BIN)/python -m pytest tests/fault $(PYTEST_ARGS)

attack: .venv/.dev ## Run the tests that attack the service
	@$(BIN)/python -m pytest tests/security $(PYTEST_ARGS)

check: .venv/.dev ## Format, lint, types, import directions, sizes, names, purity, docs
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/mypy scripts
	@$(BIN)/lint-imports
	@$(BIN)/python scripts/check_sizes.py $(CODE)
	@$(BIN)/python scripts/check_domain.py
	@$(BIN)/python scripts/check_docs.py

format: .venv/.dev ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

docs: .venv/.dev ## Write the generated reference pages and check that the reference is complete
	@$(BIN)/python scripts/check_docs.py --write

bench: bench-gateway bench-placement bench-history bench-registry bench-transfers bench-tasks ## Run every benchmark

bench-history: .venv/.dev ## Measure the history: a million requests on SQLite and PostgreSQL, each analytics route (20 minutes)
	@$(BIN)/python -m benchmarks.history

bench-registry: .venv/.dev ## Measure the registry: a million artifacts, 100,000 tools, each list and report (15 minutes)
	@$(BIN)/python -m benchmarks.registry $(ARGS)

bench-transfers: .venv/.dev ## Measure up- and downloads of 1 GiB beside nginx, and their memory (3 minutes)
	@$(BIN)/python -m benchmarks.transfers $(ARGS)

bench-placement: .venv/.dev ## Measure placement: cost of a decision, model loads, prefix hits (8 minutes)
	@$(BIN)/python -m benchmarks.placement
	@$(BIN)/python -m benchmarks.warm
	@$(BIN)/python -m benchmarks.prefixes

bench-gateway: .venv/.dev build/compiled/.made ## Measure the gateway beside nginx and LiteLLM
	@PYTHONPATH=$(CURDIR)/build/compiled $(BIN)/python -m benchmarks.gateway $(ARGS)

.venv-task-peers/.made: .venv/.build benchmarks/task_peers/requirements.txt
	@echo 'Installing the engines that the task benchmark measures beside ours ...'
	@$(BIN)/python -m venv --clear .venv-task-peers
	@scripts/uv.sh pip install --python .venv-task-peers/bin/python -r benchmarks/task_peers/requirements.txt
	@touch $@

bench-tasks: .venv/.dev build/compiled/.made .venv-task-peers/.made ## Measure tasks beside Celery, taskiq, procrastinate, pgqueuer, DBOS (20 minutes; ARGS=--quick: 3)
	@PYTHONPATH=$(CURDIR)/build/compiled $(BIN)/python -m benchmarks.tasks $(ARGS)

clean: down ## Stop the service; remove .venv, caches and build results (data in DATA stays)
	@rm -rf .venv .venv-* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist benchmarks/build
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
