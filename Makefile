# Every target sets itself up: a virtual environment in .venv with the exact versions of constraints.txt.
PYTHON ?= python3
# Extras to install; CI jobs that only decide and commit need less than the tests do.
EXTRAS ?= dev
VENV := .venv
BENCH := build/benchmark
MICRO := $(BENCH)/micro.json
ROWS ?= 1e5 1e6
BIN := $(VENV)/bin
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
READY := $(VENV)/.ready

export BENTOML_DO_NOT_TRACK := True
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test style types contracts unit components small-laws e2e laws fuzz micro wrk bench clean

help: ## show the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## make .venv

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "modelserve needs Python 3.11 or newer; call make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about 3 GB; some minutes the first time)"
	$(BIN)/pip install -qq --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: setup ## registry → Bento → canary → git push → drift report → revert commit, on real data
	@$(BIN)/python docs/demo/demo.py

test: style types contracts unit components small-laws e2e ## everything that must hold

style: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

contracts: setup
	$(BIN)/lint-imports

unit: setup ## tests without servers
	$(BIN)/pytest -m 'not e2e and not gpu' -n 2 --dist loadfile --ignore=tests/laws --ignore=tests/components --ignore=tests/bench

components: setup ## whole commands over DuckDB and a repository in memory, and processes, without servers
	$(BIN)/pytest tests/components tests/bench -n 2 --dist loadfile

small-laws: setup ## what the statistics promise, on small seeded simulations
	$(BIN)/pytest tests/laws -n 2

e2e: setup ## tests with real Envoy, Bentos and git servers
	$(BIN)/pytest tests/e2e -m 'e2e or gpu' -n 2 --dist loadfile --no-loadscope-reorder

laws: setup ## what the statistics promise, on long simulations (some minutes)
	$(BIN)/python -m pipelines laws

fuzz: setup ## 100,000 spoiled bodies in every REST protocol (some minutes)
	$(BIN)/pytest tests/e2e/serving/test_fuzz.py -s --fuzz-bodies 100000

micro: setup ## measure the micro-benchmarks
	@mkdir -p $(BENCH)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/pytest tests/bench -q --benchmark-enable --benchmark-only \
		--benchmark-timer time.thread_time --benchmark-min-time 0.0005 --benchmark-max-time 0.3 --benchmark-json $(MICRO)

wrk: ## the benchmark's load generator, from the distribution
	@command -v wrk >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq wrk; }

bench: micro ## micro-benchmarks beside their ratios, memory of a drift tick (ROWS="1e7 1e8"), a short one of the server
	$(BIN)/python -m pipelines benchmark --gate $(MICRO)
	$(BIN)/python -m pipelines benchmark --works tabular --subjects empty,modelserve,gateway --connections 64 --seconds 3 --rounds 2 --out $(BENCH)
	$(BIN)/python -m pipelines events scale --rows $(ROWS)

clean: ## remove what make made
	rm -rf $(VENV) build dist .demo *.egg-info
