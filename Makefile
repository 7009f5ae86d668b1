# Needs python3 (3.11 to 3.13), make and a package index; the targets set up everything else themselves.
# ARGS is passed on: make demo ARGS="--once", make test ARGS="-k scenarios".
.POSIX:
.PHONY: help demo test check bench format lock audit clean runtime dev peers programs

ARGS =
BIN = .venv/bin
PEERS = .venv-peers
AUDIT = .venv-audit
COMPILE = $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links --upgrade

help:
	@echo "make demo | test | check | bench | format | lock | audit | clean"

demo: runtime
	@$(BIN)/ml-connector demo $(ARGS)

test: dev peers programs
	@tools/test.sh $(ARGS)

check: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && echo "dagster definitions validate" && \
	ML_CONNECTOR_HOME="$$home" DAGSTER_HOME="$$home" \
	$(BIN)/python -W ignore -m dagster definitions validate -w workspace.yaml --log-level error

bench: dev
	$(BIN)/python -m benchmarks $(ARGS)

format: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The locks: hashed, valid for every supported Python, without an index address. peers = independent vendor
# clients for the tests, in an environment of their own.
lock: dev
	$(COMPILE) pyproject.toml --extra embedded --group build --output-file requirements.lock
	$(COMPILE) pyproject.toml --extra embedded --group dev --constraint requirements.lock \
		--output-file requirements-dev.lock
	$(COMPILE) --group peers --output-file requirements-peers.lock
	$(COMPILE) --group audit --output-file requirements-audit.lock

# Says `passed`, `vulnerable` (and fails), or `skipped` where the advisories cannot be reached.
audit:
	@tools/venv.sh $(AUDIT) requirements-audit.lock
	@$(AUDIT)/bin/python tools/audit.py $(AUDIT)/bin/pip-audit requirements.lock requirements-dev.lock requirements-peers.lock

clean:
	rm -rf .venv .venv-peers .venv-audit .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find ml_connector ml_connector_tests -name __pycache__ -type d -exec rm -rf {} +

runtime:
	@tools/venv.sh .venv requirements.lock project

dev:
	@tools/venv.sh .venv requirements-dev.lock project

peers:
	@tools/venv.sh $(PEERS) requirements-peers.lock

programs:
	@tools/programs.sh
