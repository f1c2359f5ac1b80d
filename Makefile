# Two commands on a fresh machine with Python and pip: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Compiled kernels stay in the checkout; elsewhere they go to the user's cache.
export LIMEN_CACHE := $(CURDIR)/.cache/kernels

.PHONY: demo test quick lint clean

demo: $(VENV)/installed ## Compare eight activations on digits; ends with runs/demo/report.html
	$(BIN)/limen compare --data digits --network convnet --seeds 3 --epochs 8 \
	  --activations relu,gelu,swish,mish,ash,asau,apalu,adact --out runs/demo

test: lint quick ## Everything: style, types, all tests, the slow ones last
	$(BIN)/python -m pytest -n 2 -m slow

quick: $(VENV)/installed ## The quick tests only
	$(BIN)/python -m pytest -n 2 -m "not slow"

lint: $(VENV)/installed ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch first: a package that asked for it before would bring another, much larger build.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) --editable '.[dev]'
	touch $@

clean: ## Remove the environment, caches and runs
	rm -rf $(VENV) .cache runs
