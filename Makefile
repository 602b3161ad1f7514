# Everything a newcomer needs; each target sets up .venv by itself, once.
PYTHON ?= python3
SUITE ?= stability
TRIALS ?= 10
ARGS ?=
BIN := .venv/bin
# What is compiled once is kept: each worker would rewrite every assert again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup bench report tune test test-slow lint format perf clean
.DEFAULT_GOAL := help

help: ## say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo 'variables: SUITE (stability), ARGS (options of ganbench), TRIALS (tune), PYTHON (python3)'

setup: .venv/ready ## create .venv with the exact versions of requirements.lock

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("ganbench needs Python 3.11 or newer; give one: make PYTHON=python3.12 …") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

bench: .venv/ready ## run a suite and write its report: make bench SUITE=stability
	@$(BIN)/ganbench run $(SUITE) $(ARGS)

report: .venv/ready ## write the report of results/SUITE again
	@$(BIN)/ganbench report results/$(SUITE) $(ARGS)

tune: .venv/ready ## tune a suite's cells: make tune SUITE=stability ARGS='--param lr_g=1e-5..1e-2:log'
	@$(BIN)/ganbench tune $(SUITE) --trials $(TRIALS) $(ARGS)

test: .venv/ready ## run every test that takes less than ten seconds
	$(BIN)/python -m pytest --numprocesses 3 -m 'not slow' $(ARGS)

test-slow: .venv/ready ## run the slow proofs
	$(BIN)/python -m pytest --numprocesses 3 -m slow $(ARGS)

lint: .venv/ready ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/ready ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

perf: .venv/ready ## measure speed as ratios, side by side
	$(BIN)/python -m tests.benchmarks $(ARGS)

clean: ## remove .venv and caches; results stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
