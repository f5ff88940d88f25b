# The commands of this project, for people and CI alike. `make` lists them.
#
# Everything lives in .venv. Three stamps say how much of it is there: .base (what a user installs), .dev (and the
# node's extras and the test tools), .train (and torch). A changed pyproject.toml makes them stale.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
TRAIN_TESTS = $(shell grep -rlE --include='*.py' 'importorskip."(torch|timm|onnx|sklearn|matplotlib)"' tests)

.DEFAULT_GOAL := help
.PHONY: help setup setup-train demo test test-base test-train readme check format vendor pictures benchmark

help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.dev  ## Make .venv with tamperscope and the test tools
	@echo "Ready: $(VENV)/bin/tamperscope --help"

setup-train: $(VENV)/.train  ## The same, and torch (several GB)
	@echo "Ready to train."

demo: $(VENV)/.base  ## Forge a synthetic chest CT, scan it, show where; needs neither data nor torch
	@$(PY) examples/demo.py

test: test-base test-train  ## The whole suite, then again what needs torch, with torch

test-base: $(VENV)/.dev  ## The whole suite; without torch, what needs it is skipped
	$(PY) -m pytest -n auto

test-train: $(VENV)/.train  ## The tests that need the extra: torch and what comes with it; a thread for each of the workers
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto $(TRAIN_TESTS)

readme: $(VENV)/.dev  ## Run every block of code in README.md and docs/
	$(PY) -m pytest tests/test_readme.py

check: $(VENV)/.train  ## Style, types, import contracts; torch is there for its types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.dev  ## Bring the code into shape
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

vendor: $(PY)  ## Fetch the viewer of the web page anew, at its pinned version; needs npm
	@$(PY) tools/vendor.py

pictures: $(VENV)/.dev  ## Draw the pictures of docs/page.md; needs chromium
	@$(PY) tools/pictures.py

benchmark: $(VENV)/.base  ## Time and memory of a scan
	@$(PY) benchmarks/scan.py

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tamperscope needs Python 3.11 or newer, \
	and $(PYTHON) is not; name one that is: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.base: pyproject.toml | $(PY)
	@echo "Installing tamperscope"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "Installing the test tools"
	@$(PIP) --editable '.[dev,dicom,serve,postgres,report,c2pa]'
	@touch $@

$(VENV)/.train: $(VENV)/.dev
	@echo "Installing torch, which takes a few minutes"
	@$(PIP) --editable '.[dev,dicom,serve,postgres,report,c2pa,train]'
	@touch $@
