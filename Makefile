.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

# What Python compiles is kept, also where PYTHONDONTWRITEBYTECODE is set: to compile all that the
# service imports takes each of its processes three times as long as to start.
ifdef PYTHONDONTWRITEBYTECODE
export PYTHONDONTWRITEBYTECODE :=
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/bytecode
endif

.PHONY: help
help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-14s %s\n", $$1, $$2}'

.PHONY: install
install: .venv/installed  ## Install everything into .venv, from hashed requirements

# What `make run` needs comes first, and alone: the tools of tests and checks are most of the rest.
.venv/serving: requirements.txt requirements-run.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("shop needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import ensurepip, ssl, ctypes' || { echo "this Python lacks a module that shop needs: on Debian, install python3-venv"; exit 1; }
	@echo "making .venv"
	@$(PYTHON) -m venv .venv
	$(call INSTALL,what serves,-r requirements.txt -r requirements-run.txt)

.venv/installed: .venv/serving requirements-dev.txt
	$(call INSTALL,the tools of tests and checks,-r requirements-dev.txt)

# Install hashed requirements, and print a dot for each package, or why it fails. The files are
# complete, so pip has nothing to resolve; Python compiles what is used when it is first used.
define INSTALL
@printf 'installing %s ' '$(1)'
@rm -f $@
@{ $(BIN)/python -m pip install --disable-pip-version-check --no-input --require-hashes --no-deps \
  --no-compile $(2) 2>&1 && touch $@; } | { failed=; while IFS= read -r line; do \
    case "$$failed$$line" in \
      Collecting*) printf . ;; \
      'Installing collected'*) printf ' unpacking' ;; \
      ERROR*) failed=ERROR; printf '\n%s' "$$line" ;; \
    esac; done; echo; }
@test -e $@
endef

.PHONY: run
run: .venv/serving  ## Serve the API on port 8000, with PostgreSQL, Redis and demo data
	@$(BIN)/python -m dev.embedded

.PHONY: monitor
monitor: .venv/serving  ## Watch `make run` with the Prometheus of this machine: metrics and alerts
	@$(BIN)/python -m dev.monitor

.PHONY: test
test: install  ## Run all tests, on a PostgreSQL and a Redis of their own
	@$(BIN)/pytest --numprocesses auto

.PHONY: test-fast
test-fast: install  ## Run the tests that need no server, in half a minute
	@$(BIN)/pytest --numprocesses auto -m "not slow"

# Its files are no test_*.py, so that `make test` leaves them out.
.PHONY: test-browser
test-browser: install  ## Test /ops, /docs and pages of other origins in the Chromium of this machine
	@PYTHONPATH=tests/browser $(BIN)/pytest -p browsing tests/browser/pages.py tests/browser/ops.py

# Its files are no test_*.py, so that `make test` leaves them out.
DRILLS := sentinels clusters failovers poolers hosts encryption rotation $(if $(BEFORE),upgrades)

.PHONY: drill
drill: install  ## Fail over, kill and hang real servers under load, 15 minutes (ONLY="sentinels hosts", BEFORE=DIR)
	@PYTHONPATH=tests/drill BEFORE=$(BEFORE) $(BIN)/pytest -p drilling \
	  $(patsubst %,tests/drill/%.py,$(or $(ONLY),$(DRILLS)))

.PHONY: soak
soak: install  ## Race readers and writers for ten minutes, with faults (SECONDS=600)
	@PYTHONPATH=.:tests $(BIN)/python tests/consistency/soak.py $(or $(SECONDS),600)

.PHONY: compare
compare: install  ## Compare all answers with and without the edge, at length (ROUNDS=20 SEED=...)
	@DIFFERENTIAL_ROUNDS=$(or $(ROUNDS),20) DIFFERENTIAL_SEED=$(or $(SEED),$$(date +%s)) \
	  $(BIN)/pytest --capture=no --quiet tests/test_edge_differential.py

NEEDS_NODE := make lint-api needs Node 18.18 or newer, with npm (on Debian, install nodejs and npm)
HAS_NODE := command -v npm >/dev/null && node -e 'const [major, minor] = process.versions.node.split("."); process.exit(+major > 18 || (+major === 18 && +minor >= 18) ? 0 : 1)'

# No script of a package is run, and nothing is told to anybody.
tests/api/node_modules/installed: tests/api/package-lock.json
	@$(HAS_NODE) || { echo "$(NEEDS_NODE)"; exit 1; }
	@echo "installing the linters of the API's document, a minute or so ..."
	@cd tests/api && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@

.PHONY: lint-api
lint-api: install tests/api/node_modules/installed  ## Check the API's document, and what TypeScript makes of it
	@mkdir -p tests/api/build
	@DATABASE_URL=postgresql://nowhere/none REDIS_ENABLED=false \
	  $(BIN)/flask openapi write tests/api/build/openapi.json
	cd tests/api && REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true npx --no redocly lint build/openapi.json
	cd tests/api && npx --no spectral lint --fail-severity=hint build/openapi.json
	cd tests/api && npx --no openapi-typescript build/openapi.json --output build/schema.d.ts
	cd tests/api && npx --no tsc

NEEDS_PROMTOOL := make lint-monitoring needs promtool and amtool (on Debian, install prometheus and prometheus-alertmanager)
HAS_PROMTOOL := command -v promtool >/dev/null && command -v amtool >/dev/null
MONITORING := deploy/monitoring

.PHONY: lint-monitoring
lint-monitoring:  ## Check what Prometheus and Alertmanager read, and test each alert
	@$(HAS_PROMTOOL) || { echo "$(NEEDS_PROMTOOL)"; exit 1; }
	promtool check config --syntax-only $(MONITORING)/prometheus.yml
	promtool check rules $(MONITORING)/recording.yml $(MONITORING)/alerts.yml
	promtool test rules $(MONITORING)/tests/*.yml
	amtool check-config $(MONITORING)/alertmanager.yml

# Its lines with a tag of Docker compose, which YAML does not know, are left out.
WITH_TAGS := deploy/compose/hosts.yaml

.PHONY: check
check: install  ## Check format, lint, types, the Dockerfile, the compose file, the API's document, the alerts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.production.yaml \
	  $(filter-out $(WITH_TAGS),$(wildcard deploy/compose/*.yaml))
	sed '/!reset/d' $(WITH_TAGS) | $(BIN)/check-jsonschema --builtin-schema vendor.compose-spec --default-filetype yaml -
	@if $(HAS_NODE); then $(MAKE) --no-print-directory lint-api; \
	  else echo "The API's document was not checked: $(NEEDS_NODE)."; fi
	@if $(HAS_PROMTOOL); then $(MAKE) --no-print-directory lint-monitoring; \
	  else echo "The alerts were not checked: $(NEEDS_PROMTOOL)."; fi

.PHONY: picture
picture: install  ## Draw what imports what in shop/ into docs/architecture.md
	@$(BIN)/python -m dev.picture

.PHONY: dashboards
dashboards: install  ## Write the dashboards of Grafana, from dev/dashboards/ into deploy/monitoring/grafana/
	@$(BIN)/python -m dev.dashboards

.PHONY: settings
settings: install  ## Write the settings of shop/config.py into docs/operations.md and the compose file
	@$(BIN)/python -m dev.settings

.PHONY: backup
backup: $(if $(COMPOSE),,.venv/serving)  ## Dump the database of `make run` to instance/backups (COMPOSE=1: that of the containers, to ./backups)
	@$(if $(COMPOSE),COMPOSE=1 deploy/backup.sh,$(BIN)/python -m dev.embedded.backup backup)

.PHONY: restore
restore: $(if $(COMPOSE),,.venv/serving)  ## Restore a dump, FILE=..., into the database of `make run` (COMPOSE=1, YES=1)
	@$(if $(COMPOSE),COMPOSE=1 deploy/restore.sh '$(FILE)',$(BIN)/python -m dev.embedded.backup restore '$(FILE)')

.PHONY: secrets
secrets:  ## Make the passwords of the compose file in ./secrets, where there are none
	@deploy/compose/make-secrets.sh

.PHONY: load
load: install  ## Load a running service (KIND=Shopper, Browser or Buyer; USERS=400 SECONDS=60 HOST=http://localhost:8000)
	@$(BIN)/locust --headless --users $(or $(USERS),400) --spawn-rate 50 \
	  --run-time $(or $(SECONDS),60)s --host $(or $(HOST),http://localhost:8000) --only-summary \
	  $(or $(KIND),Shopper)

.venv-bench/installed: bench/requirements.txt
	@$(PYTHON) -m venv .venv-bench
	@echo "installing into .venv-bench, a minute or so ..."
	@.venv-bench/bin/python -m pip install -qq --disable-pip-version-check --require-hashes \
	  -r bench/requirements.txt
	@touch $@

# A run that is not the whole one is printed, and kept nowhere.
.PHONY: bench
bench: install .venv-bench/installed  ## Compare the cost of requests, 25 minutes (QUICK=1, ONLY="item page100", BEFORE=DIR)
	@$(BIN)/python -m bench run $(if $(ONLY),--only $(ONLY)) $(if $(BEFORE),--before $(BEFORE)) \
	  $(if $(QUICK),--products 1000 --workers 1 --rounds 2) \
	  $(if $(QUICK)$(ONLY),,--output bench/results.json)
	@$(if $(QUICK)$(ONLY),,.venv-bench/bin/python -m bench report)

.PHONY: bench-servers
bench-servers: install .venv-bench/installed  ## Compare ways to serve, 5 minutes (BEFORE=DIR)
	@$(BIN)/python -m bench servers $(if $(BEFORE),--before $(BEFORE)) --output bench/servers.json
	@.venv-bench/bin/python -m bench report

.PHONY: bench-redis
bench-redis: install .venv-bench/installed  ## Measure what cached reads cost Redis, 1 minute (BEFORE=DIR)
	@$(BIN)/python -m bench redis $(if $(BEFORE),--before $(BEFORE)) --output bench/redis.json
	@.venv-bench/bin/python -m bench report

# The catalogue of a million is kept for the next run.
.PHONY: bench-capacity
bench-capacity: install  ## Measure what the model of capacity needs, 15 minutes (ONLY="entries shards")
	@$(BIN)/python -m bench.capacity.measure $(ONLY)
	@$(if $(ONLY),,$(BIN)/python -m bench.capacity)

.PHONY: capacity
capacity: install  ## Tell what a shop of a size needs (PRODUCTS=1e7 RATE=1e4 EXPONENT=1 TTL=300 UTILISATION=0.6 CORES=16 MEMORY=MiB)
	@$(BIN)/python -m bench.capacity $(foreach option,PRODUCTS RATE EXPONENT TTL UTILISATION CORES MEMORY,\
	  $(if $($(option)),--$(shell echo $(option) | tr A-Z a-z)=$($(option))))

.PHONY: load-report
load-report: install .venv-bench/installed  ## Load it without and with Redis, and report (USERS=400 SECONDS=300)
	@$(BIN)/python -m bench.load.run $(or $(USERS),400) $(or $(SECONDS),300)
	@.venv-bench/bin/python -m bench.load.report

# Its catalogue is kept for the next run; a run that is not the whole one is printed, and kept nowhere.
.PHONY: bench-search
bench-search: install  ## Measure finding products among 10^6, 10 minutes (QUICK=1, ONLY="cold far hits")
	@$(BIN)/python -m bench.search.run $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))
	@$(if $(QUICK)$(ONLY),,$(BIN)/python -m bench.search.report)

.PHONY: load-search
load-search: install  ## Load the shop with people who look for something (USERS=400 SECONDS=300)
	@$(BIN)/python -m bench.load.browse $(or $(USERS),400) $(or $(SECONDS),300)

.PHONY: format
format: install  ## Format the code and mend what the linter can
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

.PHONY: requirements
requirements: install  ## Compile the requirement files anew, from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-header --output-file requirements.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-header --constraints requirements.txt --output-file requirements-run.txt --group embedded
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-header --constraints requirements.txt --constraints requirements-run.txt \
	  --output-file requirements-dev.txt --group dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-header --constraints requirements.txt --output-file bench/requirements.txt \
	  bench/requirements.in

.PHONY: clean
clean:  ## Delete what was installed and made, the demo data too
	@test ! -x $(BIN)/python || $(BIN)/python -m dev.embedded.clean
	@rm -rf tests/api/node_modules tests/api/build
	@rm -rf .venv .venv-bench .venv-bench-servers .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
