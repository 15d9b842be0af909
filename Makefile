# Everything happens in .venv/ and .local/; only Python 3.11 with its venv module is needed.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(if $(shell command -v $(name)),$(name))))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN := PYTHONPATH=include $(BIN)/python

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check lint types format bench soak clean

help:
	@echo "make demo    run the main job on the emulator and our content, show it, and end"
	@echo "make up      the same stack, and stay; Ctrl-C ends it"
	@echo "make test    every check and every test"
	@echo "make bench   the measurements"
	@echo "make soak    the fault tests, hundreds of times"
	@echo "make format  format the code;  make clean  remove .venv and .local"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Error: no python3 was found. Install Python 3.11 or later."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Error: $(PYTHON) is older than 3.11. Set PYTHON to a newer one: make PYTHON=python3.11 setup"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Error: $(PYTHON) has no venv module. Install it (Debian: apt install python3-venv)."; exit 1; }
	@test "$$(df -Pk . | awk 'NR==2 {print $$4}')" -gt 2000000 || \
	  { echo "Error: setting up needs 2 GB of free disk space here."; exit 1; }
	@echo "Setting up $(VENV) (about two minutes the first time) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[emulator,local,test]"
	@touch $(STAMP)

demo: setup
	@$(RUN) -m local demo

up: setup
	@$(RUN) -m local up

check: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy plugins include tests dags

lint: check

format: setup
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

test: check
	$(BIN)/python -m pytest $(foreach part,unit contract dags integration faults e2e,$(wildcard tests/$(part)))

bench: setup
	$(RUN) -m pytest tests/benchmarks -s

soak: setup
	AEM_GUIDES_SOAK=1 $(BIN)/python -m pytest tests/faults

clean:
	rm -rf $(VENV) .local
