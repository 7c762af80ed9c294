# Every target works from a fresh clone; `setup` is what the others depend on.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DATA ?= ../shared/data

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint acceptance lock clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Make .venv with the locked packages

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14)))' \
		|| { echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV) (several GB, a few minutes)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## The whole path on the shipped reviews
	@$(BIN)/tlnlp demo

test: setup ## The tests
	$(BIN)/python -m pytest -m "not acceptance"

lint: setup ## Format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

acceptance: setup ## The heavy proofs, on the real data in DATA
	TLNLP_DATA=$(abspath $(DATA)) $(BIN)/python -m pytest -m acceptance -s

lock: ## Write the lock files anew (needs uv)
	uv pip compile pyproject.toml --extra score --extra train --group dev $(LOCK_FLAGS) -o requirements-dev.lock
	uv pip compile pyproject.toml --extra score --no-emit-package pyspark $(LOCK_FLAGS) -o requirements-score.lock
	uv pip compile pyproject.toml --extra train $(LOCK_FLAGS) -o requirements-train.lock

LOCK_FLAGS := --quiet --generate-hashes --universal --python-version 3.11

clean: ## Remove what the targets made, but the downloads
	rm -rf $(VENV) .tlnlp .pytest_cache .mypy_cache .ruff_cache spark-warehouse
