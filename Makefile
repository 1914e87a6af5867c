# Everything sets itself up from a clean clone with Python >= 3.11, make and the package registries.
# `make` shows what there is.

PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
NEWEST := .venv-newest
BIN := $(VENV)/bin

.PHONY: help demo test lint tests tests-newest bench bench-peers chaos pins clean
.DEFAULT_GOAL := help

help:  ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

$(VENV)/.ready: requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or later was found. Install one, or name it: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(NEWEST)/.ready: requirements/dev.txt pyproject.toml $(VENV)/.ready
	@newest=$$($(BIN)/python tools/newest_python.py); \
	if [ -z "$$newest" ]; then rm -rf $(NEWEST); mkdir -p $(NEWEST); \
	else $$newest -m venv $(NEWEST) \
	&& $(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt \
	&& $(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .; fi
	@touch $@

demo: $(VENV)/.ready  ## Run the demo on real data: a broker, three institutes, a caller of a fourth
	$(BIN)/landbridge demo

test: lint tests tests-newest  ## Run every check

lint: $(VENV)/.ready  ## Check style, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

tests: $(VENV)/.ready  ## Run the tests on the oldest Python
	$(BIN)/python -m pytest -n 4 --dist loadfile

tests-newest: $(NEWEST)/.ready  ## Run the tests on the newest Python that is installed
	@if [ -x $(NEWEST)/bin/python ]; then $(NEWEST)/bin/python -m pytest -n 4 --dist loadfile; \
	else echo "No Python 3.12 or later is installed: tested on one version only."; fi

bench: $(VENV)/.ready  ## Measure beside bare nats-py; writes benchmarks/results/ (ARGS="--quick --only small")
	$(BIN)/python benchmarks/run.py $(ARGS)

bench-peers: $(VENV)/.ready  ## Measure beside Pyro5, Hypha and DASF (installs them into benchmarks/peers/.venv-*)
	$(BIN)/python benchmarks/peers/run.py $(ARGS)

chaos: $(VENV)/.ready  ## Kill, freeze and cut everything for ten minutes; writes docs/faults.md (ARGS="--minutes 5 --seed 7")
	$(BIN)/python tools/chaos.py $(ARGS)

pins: $(VENV)/.ready  ## Renew requirements/dev.txt with what is current
	$(BIN)/python tools/pins.py

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(NEWEST) benchmarks/peers/.venv-* demo-output benchmarks/results .mypy_cache .ruff_cache .import_linter_cache .hypothesis
