# Commands of the platform; `make` alone lists them. Works with GNU make 3.81 (macOS) and later.
PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --quiet
PLAINVIEW := $(PIP) --no-deps --no-build-isolation --editable shared/observability

.DEFAULT_GOAL := help
.PHONY: help demo follow test test-stack check generate lock clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# Each step leaves a stamp, so that a second start installs nothing.
.venv/.python:
	@$(PYTHON) tools/env_check.py
	@echo "Creating .venv with $$($(PYTHON) --version)"
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.runtime: .venv/.python requirements.txt shared/observability/pyproject.toml
	@echo "Installing what the platform runs on (requirements.txt, pinned by hash)"
	@$(PIP) --require-hashes -r requirements.txt
	@$(PLAINVIEW)
	@touch $@

.venv/.dev: .venv/.python requirements-dev.txt shared/observability/pyproject.toml
	@echo "Installing what tests and checks need (requirements-dev.txt, pinned by hash)"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@$(PLAINVIEW)
	@touch $@

demo: .venv/.runtime ## Run the whole platform here; Ctrl-C ends it
	@$(PY) -m tools.demo

follow: .venv/.runtime ## Show one request everywhere: make follow ID=<request or trace ID>
	@test -n "$(ID)" || { echo "usage: make follow ID=<request or trace ID>"; exit 2; }
	@$(PY) -m tools.follow "$(ID)"

test: .venv/.dev ## Unit, service, integration and end-to-end tests (TESTS=path for some)
	@$(PY) -m pytest $(TESTS)

test-stack: .venv/.dev ## Tests with the real Prometheus, Collector, Loki and Jaeger
	@$(PY) -m pytest tests/stack

check: .venv/.dev ## Style, types, import rules, configuration files
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m pytest -q tests/ops

generate: .venv/.dev ## Rebuild what is made from the metric catalogue
	$(PY) -m tools.generate

lock: .venv/.dev ## Pin the newest versions of requirements*.in
	$(PY) -m uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-header --quiet requirements.in -o requirements.txt
	$(PY) -m uv pip compile --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-header --quiet requirements-dev.in -o requirements-dev.txt

clean: ## Remove the demo's data, logs and secrets
	@test ! -e .local/demo.json || { echo "The demo is running: end it first"; exit 1; }
	rm -rf .local
