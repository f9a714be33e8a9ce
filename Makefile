# One environment for everything that is done with this repository, made when first needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.dev-ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## Segment a photograph through a server of your own; pictures go to demo/
	@$(BIN)/python examples/demo.py

.PHONY: test
test: $(DEV_READY) ## Run every test that needs nothing outside this folder
	@$(BIN)/python -m pytest -q

.PHONY: lint
lint: $(DEV_READY) ## Check style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

.PHONY: types
types: $(DEV_READY) ## Check types
	@$(BIN)/mypy

.PHONY: format
format: $(DEV_READY) ## Put style and formatting right
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

.PHONY: bench-accuracy
bench-accuracy: $(VENV)/.bench-ready ## Measure accuracy by clicks: DATA=folder [MODEL=name]
	@$(BIN)/python -m benchmarks.accuracy "$(DATA)" --model "$(or $(MODEL),maskery/grabcut)"

.PHONY: clean
clean: ## Remove the environment and what tools left behind
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=..." >&2; exit 1; }
	@echo "making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(READY): $(VENV)/bin/python sdk/pyproject.toml server/pyproject.toml
	@echo "installing the server and the client ..."
	@$(PIP) -e 'sdk[images]' -e server
	@touch $@

$(DEV_READY): $(READY) requirements-dev.txt
	@echo "installing what tests, lint and types need ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

$(VENV)/.bench-ready: $(READY) benchmarks/requirements.txt
	@echo "installing what benchmarks need ..."
	@$(PIP) -r benchmarks/requirements.txt
	@touch $@
