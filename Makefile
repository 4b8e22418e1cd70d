# Everything a person does here. `make` alone lists it. GNU make 3.81 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
COMPOSE ?= docker compose

.DEFAULT_GOAL := help
.PHONY: help demo test coverage check test-faults test-stack test-compose test-kubernetes test-lowest follow break fix incidents soak generate lock clean up up-core down logs ps reset backup restore rotate load bench screenshots

help:  ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 22

# --- set-up: each stamp is as new as what it was made from, so a warm start installs nothing ---
$(VENV)/.made:
	@$(PYTHON) demo/env_check.py
	@echo "making the virtual environment $(VENV) with $$($(PYTHON) --version)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.run: requirements-demo.txt shared/observability/pyproject.toml $(VENV)/.made
	@echo "installing what the demo runs on (requirements-demo.txt, checked by hash) into $(VENV)"
	@$(PIP) --no-compile --require-hashes -r requirements-demo.txt
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true # on all cores, pip uses one
	@$(PIP) --no-deps --no-build-isolation -e shared/observability
	@touch $@

$(VENV)/.dev: requirements-dev.txt shared/observability/pyproject.toml $(VENV)/.made
	@echo "installing what the tests need (requirements-dev.txt, checked by hash) into $(VENV)"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@$(PIP) --no-deps --no-build-isolation -e shared/observability
	@touch $@

# --- without Docker ---
demo: $(VENV)/.run  ## run the whole platform on embedded servers; Ctrl-C ends it
	@exec $(BIN)/python -m demo

follow: $(VENV)/.run  ## make follow ID=<request or trace ID>: that request's log lines and spans
	@test -n "$(ID)" || { echo "usage: make follow ID=<request or trace ID>"; exit 2; }
	@if [ ! -e .local/demo.json ] && [ -z "$$CONSOLE_TOKEN$$CONSOLE_URL" ]; then \
	  token=$$($(COMPOSE) exec -T console cat /secrets/console/token 2>/dev/null) && \
	  port=$$($(COMPOSE) port console 8080) && export CONSOLE_TOKEN=$$token CONSOLE_URL=http://$$port; \
	fi; $(BIN)/python -m demo.follow "$(ID)"

break: $(VENV)/.run  ## make break SCENARIO=mongo-down: break something of the running demo or compose, watch its alert
	@$(BIN)/python -m lab.incidents $(if $(SCENARIO),break "$(SCENARIO)",list)

fix: $(VENV)/.run  ## repair what `make break` broke, watch its alert become false
	@$(BIN)/python -m lab.incidents fix

incidents: $(VENV)/.run  ## break and repair everything, one after another (SCENARIOS="a b" for some): 20 minutes
	@$(BIN)/python -m lab.incidents run $(SCENARIOS)

clean:  ## delete the demo's data and logs
	@test ! -e .local/demo.json || { echo "the demo is running: end it first"; exit 1; }
	rm -rf .local

# --- tests ---
# Each module of tests has one process: its servers are started once. The slowest modules come first.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
# runs a command for so many seconds at most, and ends whatever it leaves behind
BOUNDED := $(BIN)/python -m tests.support.processes
test: $(VENV)/.dev  ## unit, service, integration and end-to-end tests, side by side (TESTS=path for some, one by one)
	@$(BOUNDED) 1200 $(BIN)/python -m pytest $(or $(TESTS),$(SIDE_BY_SIDE))

coverage: $(VENV)/.dev  ## what of the code `make test` and the tests of `make check` run, by file: 10 minutes
	$(BIN)/coverage erase
	@$(BOUNDED) 2400 $(BIN)/coverage run -m pytest $(SIDE_BY_SIDE) -q tests/e2e tests/integration tests/service tests/unit tests/ops
	@$(BIN)/coverage run -m generate --check
	$(BIN)/coverage combine -q
	$(BIN)/coverage report

check: $(VENV)/.dev  ## style, types, imports, generated files, configuration, all of it; says what it could not check
	@failed=; for each in "ruff check ." "ruff format --check ." mypy lint-imports "python -m generate --check" \
	  "python -m pytest -q -r fE tests/ops"; do echo "$(BIN)/$$each"; $(BIN)/$$each || failed="$$failed, $$each"; done; \
	test -z "$$failed" || { echo "failed: $${failed#, }"; exit 1; }

test-lowest: $(VENV)/.dev  ## the library on the lowest versions it declares, its size and import time (package index): 1 minute
	@$(BOUNDED) 300 tests/lowest

test-stack: $(VENV)/.dev  ## faults, and the real Prometheus, Collector, Jaeger, Chromium (tests/stack/build), and Loki if it is here
	@$(BOUNDED) 2400 $(BIN)/python -m pytest -n 2 --no-loadscope-reorder tests/stack tests/faults

test-faults: $(VENV)/.dev  ## kills, hangs, cut wires and strangers, all of it: some 15 minutes on two idle cores (Go builds Toxiproxy)
	tests/stack/build toxiproxy
	@FAULTS=all $(BOUNDED) 2400 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/faults $(ARGS)

test-compose: $(VENV)/.dev  ## docker compose on stand-in images, with its drills (root, Docker's engine, debootstrap): 10 minutes
	tests/compose/run

test-kubernetes: $(VENV)/.dev  ## every manifest on a real API server (Go builds kube-apiserver and etcd: 5 to 30 minutes, once)
	tests/stack/build kustomize kubernetes_schemas etcd kube_apiserver
	@$(BOUNDED) 1200 $(BIN)/python -m pytest tests/kubernetes $(ARGS)

bench: $(VENV)/.dev  ## what a request costs, as ratios with goals (PARTS="gateway event claims scrape start library" for some): 12 minutes
	@$(BIN)/python -m lab.bench $(PARTS)

soak: $(VENV)/.dev  ## memory of the demo's services over MINUTES=40 at 100 requests a second; exits 1 if one grows
	@$(BIN)/python -m lab.soak $(if $(MINUTES),--minutes $(MINUTES))

# HOST only as an argument of make: some shells have a variable of that name
load: $(VENV)/.dev  ## Locust against what runs; HEADLESS=1 for thresholds, SHAPE=steady|spike|soak
	@$(BIN)/python -m lab.load $(if $(HEADLESS),--headless) $(if $(SHAPE),--shape $(SHAPE)) $(if $(USERS),--users $(USERS)) \
	  $(if $(DURATION),--duration $(DURATION)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(findstring command,$(origin HOST)),--host $(HOST)) $(ARGS)

# --- upkeep ---
.PHONY: audit
audit: $(VENV)/.dev  ## known vulnerabilities of the pinned Python packages; says what it could not look at
	@tests/audit

generate: $(VENV)/.dev  ## write everything that is generated: merged OpenAPI, dashboards, tables
	$(BIN)/python -m generate

lock: $(VENV)/.dev  ## pin what the three requirements*.in need, with hashes; what is pinned stays (UPGRADE=1: the newest of all)
	for file in requirements requirements-demo requirements-dev; do \
	  $(BIN)/uv pip compile -q $(if $(UPGRADE),--upgrade) --universal --generate-hashes --no-header --python-version 3.11 $$file.in -o $$file.txt; \
	done

screenshots: $(VENV)/.dev  ## pictures of the running demo's console into docs/images (Chromium); GRAFANA=http://admin:PASSWORD@localhost:3000 of dashboards
	$(BIN)/python -m demo.screenshots "$(GRAFANA)"

# --- with Docker ---
up: preflight  ## start the whole stack, wait until it is healthy, print addresses and passwords
	$(COMPOSE) up -d --wait
	@$(MAKE) -s addresses

up-core: preflight  ## less: services, databases, Prometheus, Grafana, Collector, Jaeger only
	$(COMPOSE) up -d --wait core
	@$(MAKE) -s addresses

.PHONY: preflight addresses
# Ports that the stack holds already are its own. Without Python it is Docker that says what is taken.
preflight:
	@! command -v $(PYTHON) >/dev/null || \
	  $(COMPOSE) config --format json | $(PYTHON) -m ops.preflight $$($(COMPOSE) ps --format '{{.Ports}}' | grep -o '[0-9]*->' | tr -d '>-')

addresses:
	@$(COMPOSE) --profile core exec -T $$($(COMPOSE) --profile core ps --services | grep -x -e ready -e core | head -n 1) cat /tmp/ready
	@echo "  Grafana's password: $$($(COMPOSE) exec -T grafana cat /secrets/grafana/admin_password)"
	@! $(COMPOSE) ps --services | grep -qx console || echo "  Console's token:    $$($(COMPOSE) exec -T console cat /secrets/console/token)"

down:  ## stop the stack, keep its data
	$(COMPOSE) --profile '*' down

ps:  ## state of the stack
	@$(COMPOSE) ps -a

logs:  ## newest lines of the stack, following
	$(COMPOSE) logs --tail 50 -f

reset:  ## stop the stack and delete all of its data, after asking
	@printf 'This deletes every volume of the stack: databases, metrics, logs, traces, secrets. Type yes: '; \
	read answer; [ "$$answer" = yes ] && $(COMPOSE) --profile '*' down -v || echo "nothing was deleted"

backup:  ## make backup TO=folder: databases and secrets of the running stack
	@test -n "$(TO)" || { echo "usage: make backup TO=folder"; exit 2; }
	@COMPOSE="$(COMPOSE)" ops/backup "$(TO)"

restore:  ## make restore FROM=folder: put a backup in the place of what is there, after asking
	@test -n "$(FROM)" || { echo "usage: make restore FROM=folder"; exit 2; }
	@COMPOSE="$(COMPOSE)" ops/restore "$(FROM)"

rotate:  ## new passwords and keys for everything; what runs is started anew
	@COMPOSE="$(COMPOSE)" ops/rotate
