# Three commands on a fresh machine with Python and pip: `make demo`, `make test` and `make docs`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt

# Else each process that a test starts compiles all of limen's Python anew.
unexport PYTHONDONTWRITEBYTECODE

# Compiled kernels stay in the checkout; elsewhere they go to the user's cache.
export LIMEN_CACHE := $(CURDIR)/.cache/kernels

# Triton's interpreter is chosen before anything imports Triton.
TEST_TRITON := TRITON_INTERPRET=1 $(BIN)/python -m pytest -n 2 -m "triton and not slow" tests/kernels

.PHONY: demo docs test suite test-device quick test-thorough test-faults test-triton lint kernels wheel release-check audit matrix clean

demo: $(VENV)/installed ## Compare eight activations on digits; ends with runs/demo/report.html
	$(BIN)/limen compare --data digits --network convnet --seeds 3 --epochs 8 \
	  --activations relu,gelu,swish,mish,ash,asau,apalu,adact --out runs/demo

# Style and types need one core, tests two: side by side they take less time than one after the other.
test: $(VENV)/installed test-device ## Everything: style, types, all tests but the thorough ones
	@$(MAKE) --no-print-directory --jobs 2 lint suite

suite: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 -m "not thorough and (slow or not (triton or gpu))"

# What a machine lacks is named and left out: a run in which every test is skipped reads like a run of none.
test-device: $(VENV)/installed ## The tests of the GPU and of Triton, where the machine has them
	@if $(BIN)/python -c "import triton" 2>/dev/null; then $(TEST_TRITON); \
	  else echo "Triton is not installed, so its tests were left out; make test-triton installs it (691 MB)."; fi
	@if $(BIN)/python -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then $(BIN)/python -m pytest -m gpu tests/kernels; \
	  else echo "There is no GPU here, so its tests were left out."; fi

quick: $(VENV)/installed ## The quick tests only
	$(BIN)/python -m pytest -n 2 -m "not slow and not thorough and not triton and not gpu"

test-thorough: $(VENV)/installed ## More cases of what other tests hold, by compiling much
	$(BIN)/python -m pytest -n 2 -m thorough

# Its tests of Ray skip where that is missing: pip install 'limen[ray]'.
test-faults: $(VENV)/installed ## Processes killed, disks full, Ray's machines gone
	$(BIN)/python -m pytest -m faults tests/lab

test-triton: $(VENV)/installed ## The GPU's kernels without a GPU: interpreted, and compiled for GPUs that are not here
	$(PIP_INSTALL) --editable '.[triton]'
	$(TEST_TRITON)

docs: $(VENV)/installed ## The site, docs/_build/html/index.html: it opens from disk, without a network
	$(PIP_INSTALL) --editable '.[docs]'
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --doctree-dir .cache/docs docs docs/_build/html

lint: $(VENV)/installed ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What is imported seldom or never: half of all there is to compile.
UNCOMPILED := transformers/models|/tests?/|/(pip|setuptools|mypy|mypyc|sqlalchemy|alembic|optuna|sklearn|networkx|fontTools|lightning|pytorch_lightning)/

# torch first: a package that asked for it before would bring another, much larger build. pip would compile every file
# on one core, which took half of the whole; this takes all cores. A file of torch is for newer Pythons, and does not compile.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) --editable '.[dev]'
	$(BIN)/python -m compileall -qq -j 0 -x '$(UNCOMPILED)' $(VENV)/lib || true
	touch $@

# Which compiler builds the kernels of a wheel, and for which processors: zig (pip install ziglang) builds those of aarch64 anywhere.
KERNELS_CC ?= cc
PROCESSORS ?= x86-64-v3,x86-64-v4

kernels: $(VENV)/installed ## The kernels of a wheel, in build/kernels: a minute of two cores for each kind of processor
	rm -rf build/kernels
	$(BIN)/python -m limen.shipping build/kernels --cc "$(KERNELS_CC)" --processors "$(PROCESSORS)"

wheel: kernels ## Source distribution, wheel with kernels, and what is wrong with them, in dist/
	$(PIP_INSTALL) build twine check-wheel-contents
	rm -rf dist
	$(BIN)/python -m build --sdist --wheel
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl

release-check: ## That the tag of a release (GITHUB_REF_NAME) is v and the version in the package
	@test "v$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/limen/__init__.py)" = "$(GITHUB_REF_NAME)" \
	  || { echo "The tag '$(GITHUB_REF_NAME)' is not v and the version in src/limen/__init__.py."; exit 1; }

audit: ## Known vulnerabilities in what limen is tested with
	$(PIP_INSTALL) pip-audit
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

# CELLS="3.12/2.9.1/>=2 3.13/2.11.0/>=2" for some of them.
matrix: wheel ## Every Python that is here with every torch that can be had; an hour, and not for CI
	$(BIN)/python benchmarks/matrix.py $(if $(CELLS),--cells "$(CELLS)")

clean: ## Remove the environment, caches and runs
	rm -rf $(VENV) .cache runs build dist docs/_build docs/activations docs/api docs/gallery docs/engine.md docs/how-to.md
