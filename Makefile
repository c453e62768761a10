# Two commands are all there is to know:
#   make demo   set up .venv, train small networks, explain them, say where the report is
#   make test   set up the same .venv and Chromium, then everything a release needs
# Also: make lint, make docs, make bench, make clean.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

.PHONY: demo test lint docs bench chromium clean

demo: $(VENV)/.vision
	$(BIN)/kdlens demo --out demo

test: lint chromium
	$(PYTEST) -n 2 --dist worksteal
	$(MAKE) docs

lint: $(VENV)/.everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.everything
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.everything
	for part in distances unicam joint knowledge dissection conflict startup; do $(BIN)/python -m benchmarks.$$part || exit 1; done

chromium:
	@command -v chromium >/dev/null || bash scripts/install_chromium.sh

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "kdlens needs Python 3.11 or newer; make PYTHON=..."'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.vision: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e ".[vision]"
	touch $@

$(VENV)/.everything: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e ".[vision,captum,track,test,docs]"
	touch $@ $(VENV)/.vision

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
