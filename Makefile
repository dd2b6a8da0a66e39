# `make` lists what there is; `make test` sets up all it needs, given Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
ENGINES := containerd runc containernetworking-plugins busybox-static

.PHONY: help venv proto sync docs fmt lint type test check cov oldest bench e2e-tools engines serve build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: .venv/.ready ## .venv with criadapt (editable) and the development tools
.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group dev
	@touch $@

proto: venv ## generate criadapt/cri/v1 from proto/runtime/v1/api.proto
	$(BIN)/python scripts/gen_proto.py

sync: venv ## write the blocking client from the asynchronous one
	$(BIN)/python scripts/unasync.py

docs: venv .venv-docs/.ready ## write the pages of docs/ that are made of the code, then all of it as HTML into site/
	$(BIN)/python scripts/gen_docs.py
	.venv-docs/bin/mkdocs build --strict --quiet
.venv-docs/.ready: pyproject.toml
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install --quiet 'pip>=25.1'
	.venv-docs/bin/python -m pip install --quiet --group docs
	@touch $@

fmt: venv ## format, and repair what ruff can repair
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lint: venv ## ruff, the import law, generated files as generated
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/python scripts/gen_proto.py --check
	$(BIN)/python scripts/unasync.py --check
	$(BIN)/python scripts/gen_docs.py --check

type: venv ## mypy --strict
	$(BIN)/mypy

test: venv ## all tests; those whose client or engine is absent say so and are skipped
	-@$(MAKE) --no-print-directory e2e-tools
	$(BIN)/pytest

check: lint type test ## everything that must pass

cov: venv ## the tests with branch coverage
	$(BIN)/coverage run -m pytest --ignore=tests/e2e
	$(BIN)/coverage report --skip-covered --show-missing

oldest: ## the tests on the oldest dependencies that are promised
	$(PYTHON) -m venv --clear .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet 'pip>=25.1'
	$(PYTHON) scripts/floors.py > .venv-oldest/floors.txt
	.venv-oldest/bin/python -m pip install --quiet --editable . --group test --constraint .venv-oldest/floors.txt
	.venv-oldest/bin/pytest --ignore=tests/e2e

bench: venv ## measure the server over the mock
	$(BIN)/python bench/run.py

e2e-tools: venv ## build crictl and critest into the user's cache, if Go is there
	@$(BIN)/python tests/e2e/tools/build.py

engines: ## as root on Debian: install the containerd that the client is tested with
	apt-get update -qq
	apt-get install -qq --no-install-recommends $(ENGINES)

serve: venv ## serve the mock on ./criadapt.sock
	$(BIN)/criadapt serve --backend mock --listen unix://$(CURDIR)/criadapt.sock --state-dir $(CURDIR)/.state

build: venv ## sdist and wheel in dist/
	$(BIN)/python -m pip install --quiet hatchling
	$(BIN)/hatchling build

clean: ## remove all that these targets make in the tree
	rm -rf .venv .venv-docs .venv-gen .venv-oldest site .state build dist bench/results .coverage .hypothesis .*_cache criadapt.sock
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
