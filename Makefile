# One environment for everything that is done with this repository, made when first needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PARITY := .venv-parity
BENCH := .venv-bench
CLUSTER := .venv-cluster
AUDIT := .venv-audit
DIST := .venv-dist
DOCS := .venv-docs
LABEL_STUDIO := .venv-label-studio
X_ANYLABELING := .venv-x-anylabeling
PAGE_TOOLS := node_modules/.ready
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.dev-ready
# With the newest pip, which resolves and installs in two thirds of the time.
NEW_VENV = $(PYTHON) -m venv --upgrade-deps
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## Segment a photograph through a server of your own; images go to demo/
	@$(BIN)/python examples/demo.py

.PHONY: test
test: $(DEV_READY) ## Run the tests of the client and the server, in parallel
	@$(BIN)/python -m pytest -q -n auto --dist loadfile $(PYTEST)

.PHONY: test-slow
test-slow: $(DEV_READY) page-tools ## Run the other tests: browsers, databases, faults, crowds, generated clients
	@$(BIN)/python -m pytest -q -n auto --dist loadfile -m "slow or services" --ignore tests/playground --ignore tests/tools --ignore tests/deploy --ignore tests/test_site.py --ignore tests/test_dist.py $(PYTEST)
	@# In processes of its own: Playwright leaves an event loop running in the thread of its tests.
	@$(BIN)/python -m pytest -q -n auto --dist loadfile -m slow tests/playground $(PYTEST)

.PHONY: test-cluster
test-cluster: $(CLUSTER)/.ready ## Run the tests of a cluster of replicas, in an environment of its own (Ray)
	@$(CLUSTER)/bin/python -m pytest -q -s -m "slow or services" -W ignore::DeprecationWarning tests/cluster

.PHONY: test-tools
test-tools: $(DEV_READY) $(LABEL_STUDIO)/.ready $(X_ANYLABELING)/.ready ## Run Label Studio and X-AnyLabeling themselves against the bridges, in environments of their own
	@LABEL_STUDIO=$(abspath $(LABEL_STUDIO)) X_ANYLABELING=$(abspath $(X_ANYLABELING)) $(BIN)/python -m pytest -q -m services tests/tools $(PYTEST)

.PHONY: test-all
test-all: test test-slow test-cluster test-tools test-docs test-dist test-image test-parity ## Run every test

.PHONY: test-parity
test-parity: $(PARITY)/.ready ## Compare models with transformers and PyTorch, test training, in an environment of its own (PyTorch)
	@PYTHONPATH=.:server/tests $(PARITY)/bin/python -m pytest parity training/tests -q -s --rootdir . -c parity/pytest.ini

.PHONY: golden
golden: $(PARITY)/.ready ## Regenerate the vectors that make test compares with
	@PYTHONPATH=.:server/tests $(PARITY)/bin/python -m parity.golden server/tests/models

.PHONY: lint
lint: $(DEV_READY) ## Check style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

.PHONY: types
types: $(DEV_READY) ## Check types, those of the playground too where npm is installed
	@$(BIN)/mypy
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory page-types; \
	else echo "The playground's types are checked where npm is installed."; fi

.PHONY: audit
audit: $(DEV_READY) $(AUDIT)/.ready ## Look for known vulnerabilities in what is installed (asks api.osv.dev)
	@.ci/audit $(AUDIT)/bin/pip-audit $(BIN)/python

.PHONY: page-types
page-types: $(PAGE_TOOLS) ## Check the types of the playground's modules
	@node_modules/.bin/tsc --project .

.PHONY: page-tools
page-tools: $(PAGE_TOOLS) ## Install what checks the playground: TypeScript's compiler, axe-core, a driver of Firefox (npm)

.PHONY: screenshots
screenshots: $(DEV_READY) ## Take the images of the playground that the documentation shows (Chromium)
	@$(BIN)/python -m tests.playground.screenshots

.PHONY: bench-playground
bench-playground: $(DEV_READY) ## Measure what the playground adds from click to mask (Chromium)
	@$(BIN)/python -m benchmarks.playground

.PHONY: format
format: $(DEV_READY) ## Put style and formatting right
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

.PHONY: bench-accuracy
bench-accuracy: $(VENV)/.bench-ready ## Measure accuracy by clicks: DATA="folder ..." [MODEL=name]
	@$(BIN)/python -m benchmarks.accuracy $(DATA) --model "$(or $(MODEL),maskery/nano)"

.PHONY: bench-models
bench-models: $(BENCH)/.ready ## Measure every family of models beside transformers: [CONFIG=edgetam,…] [RUNS=3], in an environment of its own (PyTorch)
	@$(BENCH)/bin/python -m benchmarks.models $(if $(CONFIG),--config $(CONFIG)) --runs $(or $(RUNS),3)

.PHONY: bench-automatic
bench-automatic: $(PARITY)/.ready ## Measure everything in an image beside transformers: [POINTS=16], in an environment of its own (PyTorch)
	@PYTHONPATH=.:server/tests $(PARITY)/bin/python -m benchmarks.automatic --points $(or $(POINTS),16)

.PHONY: fuzz
fuzz: $(VENV)/.fuzz-ready ## Fuzz what reads clients' bytes: [TARGET=image] [SECONDS=600 for each target]
	@$(BIN)/python -m fuzz $(TARGET) --seconds $(or $(SECONDS),600)

.PHONY: soak
soak: $(VENV)/.bench-ready ## 2,000 requests over 200 images: every answer right, memory level
	@$(BIN)/python -m benchmarks.soak

.PHONY: bench-overhead
bench-overhead: $(VENV)/.bench-ready ## Measure the work around the model: JSON, base64, composing, PNG, HTTP
	@$(BIN)/python -m benchmarks.overhead

.PHONY: bench-memory
bench-memory: $(VENV)/.bench-ready ## Measure the memory of a server with the built-in model after 20 requests
	@$(BIN)/python -m benchmarks.memory

.PHONY: bench-latency
bench-latency: $(VENV)/.bench-ready ## Measure clicks, a box and eight objects with the built-in model over HTTP: [ARGS="--precision f32"]
	@$(BIN)/python -m benchmarks.latency $(ARGS)

.PHONY: bench-caches
bench-caches: $(VENV)/.bench-ready ## Measure twelve objects of which one changes, and the first click after a restart
	@$(BIN)/python -m benchmarks.caches $(if $(MODEL),--model $(MODEL))

.PHONY: bench-access
bench-access: $(VENV)/.bench-ready ## Measure the cost of checking a key, and a client's latency during a flood of invalid keys
	@$(BIN)/python -m benchmarks.access

.PHONY: bench-serving
bench-serving: $(BENCH)/.ready ## Measure the server beside a plain one with transformers: [CONFIG=small] (PyTorch)
	@$(BENCH)/bin/python -m benchmarks.serving --config $(or $(CONFIG),base)

.PHONY: bench-sizing
bench-sizing: $(DEV_READY) ## Simulate how many replicas a load needs: [ARGS="--rates 1 10 --clicks 8"]
	@$(BIN)/python -m benchmarks.sizing $(ARGS)

.PHONY: bench-cluster
bench-cluster: $(CLUSTER)/.ready ## Measure what Ray Serve costs a request, in an environment of its own (Ray)
	@$(CLUSTER)/bin/python -m benchmarks.cluster

.PHONY: nano
nano: $(PARITY)/.ready ## Write the graph of the built-in model from its weights in training/ (PyTorch)
	@PYTHONPATH=. $(PARITY)/bin/python -m training.export \
		--weights training/weights.safetensors --out server/src/maskery/models/builtin

.PHONY: docs
docs: $(DEV_READY) $(DOCS)/.ready ## Build the documentation as a site into site/, from which it is read without a server
	@rm -rf build/openapi
	@$(BIN)/python docs/openapi.py build/openapi
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet --strict

.PHONY: test-docs
test-docs: docs page-tools ## Build the documentation, and search and read it in a browser
	@$(BIN)/python -m pytest -q -m slow tests/test_site.py $(PYTEST)

.PHONY: test-image
test-image: $(DEV_READY) ## Build the container image without a daemon and run it (buildah, mmdebstrap)
	@$(BIN)/python -m pytest -q -m services tests/deploy $(PYTEST)

.PHONY: dist
dist: $(DIST)/.ready ## Build the wheels and source archives of both distributions into dist/, and check them
	@rm -rf dist
	@# The time of the commit, so that the same source makes the same files.
	@export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 315532800); \
	for project in sdk server; do $(DIST)/bin/python -m build --quiet --outdir dist $$project >/dev/null || exit 1; done
	@$(DIST)/bin/python -m twine check --strict dist/*

.PHONY: test-dist
test-dist: $(DEV_READY) dist ## Install the wheels in a fresh environment, print time and size, and use them
	@DIST=$(abspath $(DIST)) $(BIN)/python -m pytest -q -s -m services tests/test_dist.py $(PYTEST)

.PHONY: clean
clean: ## Remove the environment and what tools left behind
	rm -rf build dist site $(VENV) $(PARITY) $(BENCH) $(CLUSTER) $(AUDIT) $(DIST) $(DOCS) $(LABEL_STUDIO) $(X_ANYLABELING) node_modules demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: set PYTHON=..." >&2; exit 1; }
	@echo "making $(VENV) ..."
	@$(NEW_VENV) $(VENV)

$(READY): $(VENV)/bin/python sdk/pyproject.toml server/pyproject.toml constraints.txt
	@echo "installing the server and the client ..."
	@# requests: the programs of the API's page import it.
	@$(PIP) -e 'sdk[images]' -e server requests
	@touch $@

$(DEV_READY): $(READY) requirements-dev.txt benchmarks/requirements.txt
	@echo "installing what tests, lint and types need ..."
	@$(PIP) -r requirements-dev.txt
	@touch $@

$(PAGE_TOOLS): package.json
	@echo "installing what checks the playground ..."
	@npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

$(CLUSTER)/.ready: sdk/pyproject.toml server/pyproject.toml tests/cluster/requirements.txt
	@echo "making $(CLUSTER) with Ray ..."
	@$(NEW_VENV) $(CLUSTER)
	@$(CLUSTER)/bin/python -m pip install --quiet --disable-pip-version-check \
		-e 'sdk[images]' -e 'server[cluster,redis]' -r tests/cluster/requirements.txt
	@touch $@

# By itself: what it needs is not what is looked at.
$(AUDIT)/.ready:
	@echo "making $(AUDIT) with pip-audit ..."
	@$(NEW_VENV) $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check "pip-audit>=2.9"
	@touch $@

$(DOCS)/.ready: docs/requirements.txt
	@echo "making $(DOCS) with mkdocs ..."
	@$(NEW_VENV) $(DOCS)
	@$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(DIST)/.ready:
	@echo "making $(DIST) with build and twine ..."
	@$(NEW_VENV) $(DIST)
	@$(DIST)/bin/python -m pip install --quiet --disable-pip-version-check "build>=1.2" "twine>=6.1"
	@touch $@

# About 1 GB.
$(LABEL_STUDIO)/.ready: tests/tools/requirements-label-studio.txt
	@echo "making $(LABEL_STUDIO) with Label Studio ..."
	@$(NEW_VENV) $(LABEL_STUDIO)
	@$(LABEL_STUDIO)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(X_ANYLABELING)/.ready: tests/tools/requirements-x-anylabeling.txt
	@echo "making $(X_ANYLABELING) with X-AnyLabeling's client ..."
	@$(NEW_VENV) $(X_ANYLABELING)
	@$(X_ANYLABELING)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@# Without the runtimes of its own models.
	@$(X_ANYLABELING)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "x-anylabeling-cvhub==4.2.1"
	@touch $@

$(VENV)/.fuzz-ready: $(READY) fuzz/requirements.txt
	@echo "installing what fuzzing needs ..."
	@$(PIP) -r fuzz/requirements.txt
	@touch $@

$(VENV)/.bench-ready: $(READY) benchmarks/requirements.txt
	@echo "installing what benchmarks need ..."
	@$(PIP) -r benchmarks/requirements.txt
	@touch $@

# The only place that needs PyTorch: the exact release, so that no looser requirement takes another build.
$(PARITY)/.ready: server/pyproject.toml parity/requirements.txt training/requirements.txt
	@echo "making $(PARITY) with PyTorch and transformers ..."
	@$(NEW_VENV) $(PARITY)
	@$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check -r parity/requirements.txt
	@# Without torchvision, which has no release for this build of PyTorch: see parity/oracle_sam2.py.
	@$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "timm>=1.0.27,<2"
	@$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check -e server
	@touch $@

$(BENCH)/.ready: server/pyproject.toml benchmarks/requirements.txt benchmarks/requirements-models.txt
	@echo "making $(BENCH) with PyTorch and transformers ..."
	@$(NEW_VENV) $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements-models.txt
	@# Without torchvision, as for parity.
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "timm>=1.0.27,<2"
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt -e server
	@touch $@
