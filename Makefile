# Everything a person or a machine runs here. Needs make (3.81 or newer), Python 3.11 to 3.13 with
# its venv module, and a package registry that pip's own configuration can reach.

VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := build/demo
UV     := 0.13.9

export PIP_DISABLE_PIP_VERSION_CHECK := 1

# A Python is found by running it: a name on the path may be a shim for a version not installed, and
# some distributions ship Python without the parts that make a venv.
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	if $$p -c '$(SUITABLE)' >/dev/null 2>&1; then echo $$p; break; fi; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-long check lint lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.runtime  ## write a sample export, prepare it, say where the dataset and the report lie
	@rm -rf $(DEMO)
	@mkdir -p $(DEMO)
	$(BIN)/sam2prep demo $(DEMO)/exports
	$(BIN)/sam2prep prepare $(DEMO)/exports --out $(DEMO)/dataset
	@echo
	@echo "dataset: $(CURDIR)/$(DEMO)/dataset/hf"
	@echo "report:  $(CURDIR)/$(DEMO)/dataset/report/report.html"

test: check  ## the gate: check, then every test but the long ones
	$(BIN)/python -m pytest

test-long: $(VENV)/.test  ## the tests that take minutes each
	$(BIN)/python -m pytest -o addopts=-q -m long

check: lint  ## ruff, mypy --strict and the house rules, without the other tests
	$(BIN)/python -m pytest tests/test_house_rules.py

lint: $(VENV)/.test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy --strict

# make lock keeps every version that still fits; make lock UPGRADE=--upgrade takes the newest.
# One version of each package for all Pythons, or a run's output could depend on the interpreter.
COMPILE = $(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--fork-strategy fewest --generate-hashes --no-emit-index-url \
	--custom-compile-command 'make lock' $(UPGRADE) pyproject.toml --group build

lock: $(BIN)/python  ## write the lock files anew from pyproject.toml
	$(BIN)/python -m pip install --quiet uv==$(UV)
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra test --constraint requirements.lock --output-file requirements-test.lock

clean:  ## remove everything that make has made
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@if [ -z "$(PYTHON)" ] || ! $(PYTHON) -c '$(SUITABLE)' >/dev/null 2>&1; then \
		echo "no Python 3.11, 3.12 or 3.13 with venv and ensurepip found$(if $(PYTHON), (tried $(PYTHON)))." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; \
		exit 1; fi
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)

# First the locked packages, every one checked against its hash and none built from source; then
# this project, in place, built by the locked backend.
install = \
	@echo "installing $(1) (a minute or two the first time)"; \
	$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: -r $(1) && \
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .

$(VENV)/.runtime: $(BIN)/python requirements.lock pyproject.toml
	$(call install,requirements.lock)
	@touch $@

$(VENV)/.test: $(BIN)/python requirements-test.lock pyproject.toml
	$(call install,requirements-test.lock)
	@touch $@ $(VENV)/.runtime
