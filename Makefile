# Needs python3 (3.11 to 3.13), make and a package index; the targets set up everything else themselves.
# ARGS is passed on: make demo ARGS="--once", make test ARGS="-k scenarios".
.POSIX:
.PHONY: help demo test chaos chaos-long check bench pictures others format lock lock-others audit clean runtime dev peers programs

ARGS =
BIN = .venv/bin
PEERS = .venv-peers
OTHERS = benchmarks/others/requirements
AUDIT = .venv-audit
HASHED = $(BIN)/uv pip compile --quiet --no-config --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --upgrade
COMPILE = $(HASHED) --universal --python-version 3.11

help:
	@echo "make demo | test | chaos | chaos-long | check | bench | pictures | others | format | lock | audit | clean"

demo: runtime
	@$(BIN)/ml-connector demo $(ARGS)

test: dev peers programs
	@tools/test.sh $(ARGS)

# Random schedules of work, faults and kills, judged from the sandboxes' journals (docs/campaign.md). `chaos` plays the same
# ones every time, as many as fit; `chaos-long` 200 of a seed of its own.
chaos: dev
	@$(BIN)/python -m ml_connector_tests.campaign --seed 1 --schedules 200 --budget 260 --least 16 $(ARGS)

chaos-long: dev
	@$(BIN)/python -m ml_connector_tests.campaign --schedules 200 --least 200 $(ARGS)

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

# The same faults against what people would use instead, each tool in an environment of its own; one that cannot be
# installed here is left out and named. pyprocore asks for Python 3.12 and runs on 3.11; SOURCES have no wheel.
others: dev peers
	-@PIP_IGNORE_REQUIRES_PYTHON=1 tools/venv.sh .venv-others-pyprocore $(OTHERS)/pyprocore.lock
	-@tools/venv.sh .venv-others-drt $(OTHERS)/drt.lock
	-@SOURCES=singer-python,tap-quickbooks tools/venv.sh .venv-others-tap $(OTHERS)/tap.lock
	-@SOURCES=genson,pendulum tools/venv.sh .venv-others-airbyte $(OTHERS)/airbyte.lock
	@$(BIN)/python -m benchmarks.others $(ARGS)

lock-others: dev
	@$(COMPILE) $(OTHERS)/tap.in --output-file $(OTHERS)/tap.lock
	@$(COMPILE) $(OTHERS)/drt.in --output-file $(OTHERS)/drt.lock
	@$(HASHED) --python-version 3.11 $(OTHERS)/airbyte.in --output-file $(OTHERS)/airbyte.lock
	@$(HASHED) --universal --python-version 3.12 $(OTHERS)/pyprocore.in --output-file $(OTHERS)/pyprocore.lock

# Saves what the walks of the documentation see in a browser.
pictures: dev programs
	@mkdir -p docs/pictures
	ML_CONNECTOR_PICTURES=docs/pictures $(BIN)/python -m pytest -n 0 -q \
		ml_connector_tests/orchestration/live/test_walk_in_a_browser.py
	ML_CONNECTOR_PICTURES=docs $(BIN)/python -m pytest -n 0 -q ml_connector_tests/cli/test_connect_in_a_browser.py

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
	rm -rf .venv .venv-peers .venv-audit .venv-others-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find ml_connector ml_connector_tests -name __pycache__ -type d -exec rm -rf {} +

runtime:
	@tools/venv.sh .venv requirements.lock project

dev:
	@tools/venv.sh .venv requirements-dev.lock project

peers:
	@tools/venv.sh $(PEERS) requirements-peers.lock

programs:
	@tools/programs.sh
