# Everything a person runs. `make` alone says what there is.
#   PYTHON=...       the interpreter for .venv (default: python3 if it is 3.11 or newer, else the newest found)
#   PYTEST_ARGS=...  passed on to pytest
#   HOLD=1           keeps the demo running until Ctrl-C

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --warn-undefined-variables

PYTHON ?=
PYTEST_ARGS ?=
HOLD ?=
UPGRADE ?=
REQUIRED ?=
UV_VERSION := 0.13.9

# The tests start the code in a hundred processes: each would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help
help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | while IFS=$$'\t' read -r target text
	do printf '  make %-14s %s\n' "$$target" "$$text"; done

# --- the virtual environment: .venv/.runtime has what the service needs, .venv/.dev the tools too

.venv/.python: .ci/python
	@.ci/python "$(PYTHON)"
	touch $@

.venv/.runtime: .venv/.python requirements.lock requirements-build.lock pyproject.toml
	@echo "Installing rollback-receiver into .venv"
	$(PIP) --require-hashes -r requirements.lock -r requirements-build.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	@echo "Installing the development tools into .venv"
	# What is used of them is compiled when it is.
	$(PIP) --no-compile --require-hashes -r requirements-dev.lock
	touch $@

.PHONY: setup
setup: .venv/.dev ## Make .venv with everything, from the locks (instant the second time)

.PHONY: packages
packages: # Prometheus and Alertmanager, where apt-get can bring them
	@.ci/packages

.PHONY: packages-of-tests
packages-of-tests: # and what the documented commands use
	@.ci/packages tests

.PHONY: control-plane
control-plane: setup ## Build the Kubernetes API server that the tests run on (once, some minutes)
	@.ci/control-plane

.PHONY: demo
demo: .venv/.runtime packages ## See it work, start to end, on this machine (HOLD=1 keeps it running)
	@$(BIN)/rollback-receiver demo $(if $(HOLD),--hold)

.PHONY: test
test: setup packages-of-tests control-plane actionlint checked ## All checks and all tests; the first time builds Kubernetes
	@echo "The tests, which also run the demo"
	# More workers than there are cores: what speaks to real processes waits for most of its time.
	$(BIN)/pytest -n $$($(BIN)/python -c 'import os; print(min(os.cpu_count() or 1, 4) + 3)') $(PYTEST_ARGS)

.PHONY: checked
checked: setup # Each of these takes one core
	@$(MAKE) --no-print-directory --jobs=2 lint compiled

.PHONY: compiled
compiled: setup # The tests, once, and not by every worker; what is wrong with one, pytest says when it runs
	@$(BIN)/pytest -n0 --collect-only -qq >/dev/null || true

.PHONY: test-fast
test-fast: setup ## The tests that start no process, in parallel
	@echo "Left out: the real API server, Prometheus, Alertmanager and the image (make test has them)"
	$(BIN)/pytest -n auto -m "not e2e and not controlplane and not image" $(PYTEST_ARGS)

.PHONY: bench-scale
bench-scale: setup control-plane ## How long 200 rollbacks at once take among 1,000 Deployments
	@$(BIN)/python -m tests.controlplane.bench

.PHONY: bench-storm
bench-storm: setup ## What ten thousand alerts, and ten thousand deliveries at once, do to it
	@STORM=full $(BIN)/pytest -q -s tests/e2e/test_storm.py

.PHONY: dashboards
dashboards: setup ## Write the Grafana dashboards anew (k8s/dashboards)
	@$(BIN)/python -m k8s.dashboards

.PHONY: lint
lint: setup ## Style, types, and who may import whom
	@echo "ruff check, ruff format, mypy, lint-imports"
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: actionlint
actionlint: # The reader of the GitHub workflows (once, half a minute)
	@.ci/actionlint

.PHONY: image
image: setup ## Build the image on a base made here, run it, and judge it
	@.ci/packages image
	$(BIN)/pytest -n0 -s tests/image $(PYTEST_ARGS)

SBOM ?= dist/rollback-receiver.cdx.json
.PHONY: sbom
sbom: setup ## Write what the image holds, as CycloneDX (SBOM=where)
	@mkdir -p $(dir $(SBOM))
	PYTHONWARNINGS=ignore $(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
	  --output-reproducible --output-file $(SBOM)

.PHONY: audit
audit: setup ## Ask for known vulnerabilities of what the image holds (REQUIRED=1 where it must be answered)
	@$(BIN)/python .ci/audit $(if $(REQUIRED),--required)

.PHONY: coverage
coverage: setup ## What the fast tests reach
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not e2e and not controlplane and not image" $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

.PHONY: lock
lock: ## Renew the locks from pyproject.toml (UPGRADE=1 takes the newest versions)
	@[ -x .venv-lock/bin/uv ] || { rm -rf .venv-lock; $$(.ci/python --which "$(PYTHON)") -m venv .venv-lock; }
	.venv-lock/bin/python -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION)
	compile() {
	  .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" "$$@"
	}
	compile pyproject.toml --group dev $(if $(UPGRADE),--upgrade) -o requirements-dev.lock
	compile pyproject.toml -c requirements-dev.lock -o requirements.lock
	compile --group build -c requirements-dev.lock -o requirements-build.lock

.PHONY: clean
clean: ## Remove what make made
	@rm -rf .venv .venv-lock build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
