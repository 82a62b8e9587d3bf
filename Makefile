# Each target sets up .venv on its first run and reuses it afterwards.
# PYTHON=python3.13 names an interpreter; PYTEST_ARGS is passed to pytest. Compiling is most of what
# the tests do, so two processes on two cores take half the time; neighbours, which share what was
# compiled, stay together, until one process has no more to do and takes over from the other.
PYTEST_ARGS ?= -n 2 --dist worksteal

BIN := .venv/bin
READY := .venv/.ready

# uv, where there is one, installs fast, and fetches Python 3.12 if need be. It gets a path, because
# it reads a name as a version to look for, or fetch, itself.
UV := $(shell command -v uv 2>/dev/null)
ifdef UV
MODULES = sys
CREATE = uv venv --quiet --python "$$(command -v "$$python" || echo 3.12)" .venv
INSTALL = uv pip install --python $(BIN)/python
else
MODULES = sys, venv, ensurepip
CREATE = test "$$python" || { echo $(MISSING) >&2; exit 1; }; "$$python" -m venv .venv
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check
endif
MISSING = "No Python 3.12 or newer with venv and ensurepip was found: install Python 3.12" \
	"(on Debian and Ubuntu with python3.12-venv) or uv, then run make again."

# Candidates are tried by running them: pyenv's shim of a version not selected exists, and fails.
PYTHONS = python3.12 python3.13 python3.14 python3 python \
	"$$(uv python find --system '>=3.12' 2>/dev/null)" \
	"$$(pyenv root 2>/dev/null || echo ~/.pyenv)"/versions/*/bin/python3
SUITS = -c 'import $(MODULES); sys.exit(sys.version_info < (3, 12))'

.PHONY: help demo test slow lint bench notebooks docs clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | expand -t 12

demo: $(READY) ## solve the mystery of the bentos
	@$(BIN)/python -m gmm_jax demo

test: $(READY) ## run the tests, and every example in the documentation
	@$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

slow: $(READY) ## run the long tests: calibrations, notebooks, several processes
	@$(BIN)/python -m pytest -m slow $(PYTEST_ARGS) tests

lint: $(READY) ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

bench: $(READY) ## run every benchmark
	@set -e; for script in benchmarks/*.py; do $(BIN)/python "$$script"; done

notebooks: $(READY) ## execute notebooks/*.py into notebooks/*.ipynb
	@$(BIN)/jupytext --quiet --to ipynb --set-kernel python3 notebooks/*.py
	@$(BIN)/jupyter-execute --inplace notebooks/*.ipynb

docs: $(READY) ## build the documentation into build/docs/index.html
	@$(BIN)/sphinx-build -W --keep-going --quiet -d build/doctrees $(SPHINXOPTS) docs build/docs

clean: ## remove everything the other targets made
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist notebooks/*.ipynb bentos.png
	find . -name __pycache__ -prune -exec rm -rf {} +

# Without its mark an environment is incomplete, perhaps interrupted, and is made anew.
$(READY): pyproject.toml constraints.txt
	@test -e $@ || { rm -rf .venv; \
		for python in $(or $(PYTHON),$(PYTHONS)) ''; do \
			"$$python" $(SUITS) 2>/dev/null && break; \
		done; \
		$(CREATE); }
	@rm -f $@
	@echo "Installing into .venv; the first time takes a few minutes."
	@$(INSTALL) --quiet -c constraints.txt -e '.[dev]'
	@touch $@
