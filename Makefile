# make demo    train, export and draw in one go (a few minutes on a laptop CPU)
# make test    lint, types and the fast tests
# VENV=DIR uses another virtual environment than .venv; PYTHON=python3.12 another interpreter.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# onnxruntime and onnxruntime-gpu exclude each other: the GPU's is taken where a driver answers.
RUNTIME := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
INSTALL := $(PIP) install -q -c constraints.txt

.PHONY: demo test test-slow test-gpu gpu-check test-gpu-wheel test-examples lint types install-demo install-test test-kill test-oldest fuzz audit clean

demo: install-demo
	rm -rf runs/demo
	$(BIN)/draw-train --preset digits --threads 1 --out runs/demo
	$(BIN)/draw-export --ckpt runs/demo/best.ckpt -o out.onnx
	$(BIN)/draw-gen --onnx out.onnx --gif out.gif
	@echo "drawn: $(CURDIR)/out.gif"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

install-demo: $(BIN)/python
	$(INSTALL) -e ".[$(RUNTIME),train,export]"

# Not editable: the tests and the type checker see what a user installs.
install-test: $(BIN)/python
	rm -rf build *.egg-info
	$(INSTALL) ".[$(RUNTIME),dev]"
	$(INSTALL) --no-deps --force-reinstall .
	rm -rf build *.egg-info

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-test
	$(BIN)/pyright --pythonpath $(BIN)/python

test: install-test lint types
	$(BIN)/python -m pytest -m "not slow and not cuda and not examples"

test-slow: install-test
	$(BIN)/python -m pytest -m slow

test-gpu: install-test
	$(BIN)/python -m pytest -m cuda

# Needs Node, npm, a C and C++ compiler and Chromium; DRAW_REQUIRE=compiler,node,chromium,engines turns skips into failures.
test-examples: install-test
	$(INSTALL) -r tests/examples/requirements.txt
	$(BIN)/python -m pytest -m examples

# What a machine with a GPU runs first, nine minutes at most; without one a dry run.
gpu-check: install-test
	$(BIN)/python bench/gpu_check.py

# The real onnxruntime-gpu (255 MB) in an environment of its own: what it says on a machine without a GPU.
test-gpu-wheel:
	rm -rf .venv-gpu-wheel build *.egg-info
	$(PYTHON) -m venv .venv-gpu-wheel
	.venv-gpu-wheel/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt "onnxruntime-gpu" ".[test]"
	.venv-gpu-wheel/bin/python -m pytest tests/runtime/gpu_wheel.py

# Runs ended at random moments, KILLS times for each kind, and compared with ones that were left alone.
KILLS ?= 25
test-kill: install-test
	DRAW_KILLS=$(KILLS) $(BIN)/python -m pytest -s -m slow tests/reliability/test_kill.py

# Damaged files for every reader; FUZZ inputs each, an hour in all. In CI-sized parts: make fuzz FUZZ=2000
FUZZ ?= 50000
fuzz: install-test
	$(BIN)/python tests/reliability/fuzz.py --inputs $(FUZZ)

# The runtime on the oldest versions that pyproject.toml allows; its command's tests, not the trainer's.
test-oldest:
	rm -rf .venv-oldest build *.egg-info
	$(PYTHON) -m venv .venv-oldest
	$(PYTHON) tests/reliability/oldest.py cpu test > .venv-oldest/oldest.txt
	.venv-oldest/bin/python -m pip --disable-pip-version-check install -q -r .venv-oldest/oldest.txt
	.venv-oldest/bin/python -m pip --disable-pip-version-check install -q --no-deps .
	rm -rf build *.egg-info
	.venv-oldest/bin/python -m pytest -m "not slow and not cuda" tests/runtime tests/test_files.py

# Known holes in what is installed for users and for training.
audit:
	rm -rf .venv-audit
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip --disable-pip-version-check install -q pip-audit
	.venv-audit/bin/pip-audit --no-deps --disable-pip -r constraints.txt

clean:
	rm -rf .venv .venv-audit .venv-oldest .venv-gpu-wheel build *.egg-info runs/demo out.onnx out.gif
