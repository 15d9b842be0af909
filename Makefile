# Everything happens in .venv/ and .local/; only Python 3.11 with its venv module is needed.
# PYTHON=... chooses the interpreter; else the first of these that runs and is new enough is taken.
PYTHONS := $(if $(PYTHON),$(PYTHON),python3.11 python3.12 python3.13 python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := plugins include tests dags
# The browser tests need a Chromium, which no Python package brings.
CHROMIUM := $(shell for name in chromium chromium-browser google-chrome; do command -v $$name && break; done)
# Two lanes at a time: what a whole Airflow is needed for waits a lot, and what beside it needs no clock fills the gaps.
# Schemathesis takes seconds to be imported and to find its cases: only one process does that.
SCHEMATHESIS := tests/contract/test_emulator_contract.py
NO_SCHEMATHESIS := -p no:schemathesis --ignore=$(SCHEMATHESIS)
QUICK_TEST_FOLDERS := $(wildcard $(addprefix tests/,unit dags)) $(SCHEMATHESIS)
TEST_FOLDERS := $(wildcard $(addprefix tests/,faults integration contract))
AIRFLOW_TEST_FOLDERS := $(wildcard $(addprefix tests/,faults e2e $(if $(CHROMIUM),browser)))
# Most tests wait for an emulator now and then: more processes than cores. To be ready takes each of them 6 s of a core.
TEST_PROCESSES := 6
TIMES := .local/test-times
PART = $(BIN)/python -m tests.support.times run $(TIMES)
LANES = PYTHONPATH=include $(BIN)/python -m tests.support.lanes $(TIMES)
# How often `make flakes` plays the end-to-end part.
RUNS := 20

.DEFAULT_GOAL := help
.PHONY: help setup demo up test lint types format docs bench soak flakes mutants clean
.PHONY: lane-of-emulators lane-of-machines lane-of-airflow lane-of-code

help:
	@echo "make demo    run the main job on the emulator and our content, show it, and end"
	@echo "make up      the same, and stay; Ctrl-C ends it"
	@echo "make test    every check and every test"
	@echo "make bench   the measurements, with one table in the end (PARTS=batch for the batch of 2,000)"
	@echo "make soak    the fault tests, with hundreds of kills"
	@echo "make flakes  the end-to-end part twenty times under load: what fails now and then (RUNS=...)"
	@echo "make mutants how many changes of the protocol its unit tests notice, on a fixed sample"
	@echo "make lint    formatting and lint rules;  make types  the types"
	@echo "make docs    the pages in docs/ as a site, in .local/site"
	@echo "make format  format the code;  make clean  remove .venv and .local"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@python=; \
	for name in $(PYTHONS); do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Error: none of $(PYTHONS) is Python 3.11 or newer. Install it, or name it: make PYTHON=/path/to/python3.11"; exit 1; \
	fi; \
	if ! "$$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then \
	  echo "Error: $$python has no venv module. Install it (Debian, Ubuntu: apt install $$("$$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])'))."; exit 1; \
	fi; \
	if ! [ -w . ]; then echo "Error: $$(pwd) cannot be written. Give it to your user."; exit 1; fi; \
	if ! [ -x $(BIN)/pip ] && [ "$$(df -Pk . | awk 'NR == 2 {print $$4}')" -lt 1500000 ]; then \
	  echo "Error: setting up needs 1.5 GB of free disk space in $$(pwd)."; exit 1; \
	fi; \
	echo "Setting up $(VENV) (one to two minutes the first time) ..."; \
	if ! [ -x $(BIN)/pip ]; then "$$python" -m venv --clear $(VENV) || exit 1; fi; \
	pip="$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt"; \
	$$pip pip && $$pip --no-compile -e '.[emulator,local,test]' || \
	  { echo "Error: the packages could not be installed; the lines above say why. Mend it, then run make setup again."; exit 1; }
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib >/dev/null 2>&1 || true # as pip does, which uses one core only
	@touch $(STAMP)

# The launcher is run without a shell between, so that it hears the signals that end make.
demo up bench: export PYTHONPATH := include

demo: setup
	@$(BIN)/python -m local demo

up: setup
	@$(BIN)/python -m local up

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: setup
	$(BIN)/mypy $(SOURCES)

format: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

# Material for MkDocs shows advice about its successor at each build.
docs: export NO_MKDOCS_2_WARNING := 1
docs: setup
	$(BIN)/mkdocs build --strict --quiet
	@echo "The site is in .local/site/: open .local/site/index.html"

test: setup
	@$(if $(CHROMIUM),,echo "No Chromium is found: the browser tests are left out. They need Debian's: apt install chromium")
	@rm -rf $(TIMES)
	@$(BIN)/python -m compileall -qq plugins include tests/support # once, not in each process that begins at the same time
	@$(PART) lint $(MAKE) --no-print-directory lint
	@$(LANES) $(MAKE) --no-print-directory lane-of-emulators --beside $(MAKE) --no-print-directory lane-of-machines
	@$(LANES) $(MAKE) --no-print-directory lane-of-airflow --beside nice -n 19 $(MAKE) --no-print-directory lane-of-code
	@$(BIN)/python -m tests.support.times show $(TIMES)

# Each process of the tests compiles what none has compiled before.
test lane-of-emulators lane-of-machines lane-of-airflow lane-of-code flakes: export PYTHONDONTWRITEBYTECODE :=

lane-of-emulators:
	$(PART) "tests side by side" $(BIN)/python -m pytest $(NO_SCHEMATHESIS) -m "not airflow" -n $(TEST_PROCESSES) --dist worksteal $(TEST_FOLDERS)

lane-of-machines:
	$(PART) "tests with many machines, beside them" $(BIN)/python -m pytest $(NO_SCHEMATHESIS) tests/distributed

lane-of-airflow:
	$(PART) "tests with Airflow" $(BIN)/python -m pytest $(NO_SCHEMATHESIS) -m airflow $(AIRFLOW_TEST_FOLDERS)

lane-of-code:
	@$(PART) "types, beside them" $(MAKE) --no-print-directory types
	$(PART) "quick tests" $(BIN)/python -m pytest $(QUICK_TEST_FOLDERS)

# Programs of their own, each with its exit status, and measurements that pytest runs.
bench: setup
	@$(BIN)/python -m tests.benchmarks $(PARTS)

soak: setup
	AEM_GUIDES_SOAK=1 $(BIN)/python -m pytest -m airflow tests/faults

flakes: setup
	$(BIN)/python -m tests.support.flakes .local/flakes $(RUNS) $$(getconf _NPROCESSORS_ONLN) -m airflow $(AIRFLOW_TEST_FOLDERS)

# Takes about ten minutes on two cores. SEED=1 takes another sample.
mutants: setup
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[mutants]'
	$(BIN)/python -m tests.mutation $(SEED)

clean:
	rm -rf $(VENV) .local
