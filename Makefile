# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
OLDEST_PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
NEWEST := .venv-newest
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# two test workers on two cores: one thread each, or the threads of all workers fight for the cores; no screen
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
export MPLBACKEND = Agg

.PHONY: demo test quick oldest newest wheels licences sbom lint types layers docs frontend frontend-check clean

$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[sklearn]"
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/.demo
	$(BIN)/memorymaps demo --out out/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup

# what takes longer, or a browser, is left out: about a minute on two quiet cores
quick: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow and not browser"

# Every dependency at its declared minimum. Old libraries' warnings about newer ones are not this package's.
$(OLDEST)/.installed: pyproject.toml tools/oldest.py
	rm -rf $(OLDEST)
	$(OLDEST_PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python tools/oldest.py pyproject.toml > $(OLDEST)/minimum.txt
	$(OLDEST)/bin/python -m pip install --quiet -c $(OLDEST)/minimum.txt -e ".[sklearn,statsmodels,polars]" \
	  pytest pytest-xdist hypothesis
	touch $@

oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -n 2 --dist loadgroup -rs --doctest-ignore-import-errors -W ignore::DeprecationWarning \
	  -W ignore::PendingDeprecationWarning -W ignore::FutureWarning

# Every dependency at its newest, without the constraints file; made anew each time. Warnings are the libraries' own.
newest:
	rm -rf $(NEWEST)
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager -e ".[dev]"
	$(NEWEST)/bin/python -m pytest -n 2 --dist loadgroup -rs -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning \
	  -W ignore::FutureWarning

# Wheel and sdist built, installed and used in clean environments, each extra alone.
wheels:
	$(PYTHON) tools/try_wheels.py

licences: $(VENV)/.dev
	$(BIN)/python tools/licences.py

# What is installed for development and for every extra, as CycloneDX JSON.
sbom: $(VENV)/.dev
	mkdir -p out
	$(BIN)/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-format JSON -o out/sbom.json

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict --quiet

frontend/node_modules/.installed: frontend/package.json frontend/package-lock.json
	cd frontend && npm ci --no-audit --no-fund
	touch $@

# Build the explorer's page into the package; the built files are committed, so that installing needs no Node.
frontend: frontend/node_modules/.installed
	cd frontend && npm run --silent build

frontend-check: frontend/node_modules/.installed
	cd frontend && npm run --silent lint && npm run --silent types && npm run --silent test
	cp -r src/memorymaps/viz/explorer/static frontend/node_modules/.committed
	cd frontend && npm run --silent build
	diff -r frontend/node_modules/.committed src/memorymaps/viz/explorer/static; status=$$?; \
	  rm -r frontend/node_modules/.committed; exit $$status

clean:
	rm -rf $(VENV) $(OLDEST) $(NEWEST) out site
