# demo and test do all the set-up on a machine with Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint bench docs clean

demo: .venv/demo      ## train the digits recipe from scratch, print the table and where the report is
	$(BIN)/triptych train digits

test: .venv/test      ## run the whole suite in two processes, half of it each; who is done first takes half of what the other has left
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/dev       ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: .venv/test     ## the figures of docs/performance.md, as ratios
	$(BIN)/python -m benchmarks

docs: .venv/dev       ## build the documentation into site/
	$(BIN)/mkdocs build --strict --quiet

clean:                ## remove everything that can be made again, runs/ excepted
	rm -rf .venv site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "triptych needs Python 3.11 or newer: make PYTHON=python3.11 " + "demo")'
	$(PYTHON) -m venv .venv

# One stamp an extra: it is installed anew when pyproject.toml changes. dev holds test. What is imported is compiled when it is;
# pip would compile all of 25,000 files first, one after the other.
.venv/%: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[$*]'
	touch $@ $(if $(filter dev,$*),.venv/test)
