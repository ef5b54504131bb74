# The template's own verbs. `make` alone lists them.
# A recipe line is one command, or commands joined by &&: GNU make 3.81 (macOS) ignores .SHELLFLAGS, so no -e is set.
.DEFAULT_GOAL := help
SHELL := bash
.NOTPARALLEL:

# A value of the command line is text: recipes read it from the environment, and make does not expand it.
OF_MAKE := MAKE MAKEFILES MAKEFILE_LIST MAKEFLAGS MAKEOVERRIDES MAKELEVEL MAKECMDGOALS MAKE_COMMAND MAKE_RESTARTS
literal = $(eval override $(1) := $$(value $(1)))$(eval export $(1))
$(foreach name,$(filter-out $(OF_MAKE) .% -%,$(.VARIABLES)),$(if $(filter command,$(origin $(name))),$(call literal,$(name))))

UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv),.tools/bin/uv)
READY := .venv/.ready
export DEMO := demo
# UTF-8 in any locale, and the environment of this folder whichever is active.
export PYTHONUTF8 := 1
export UV_PROJECT_ENVIRONMENT := $(CURDIR)/.venv
# Seconds after which uv gives up on a package index that does not answer.
export UV_HTTP_TIMEOUT ?= 60
unexport PYTHONIOENCODING VIRTUAL_ENV CONDA_PREFIX
# Telemetry of ONNX Runtime, which tests and benchmarks import, is off.
export ORT_DISABLE_TELEMETRY := 1
export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/.tools/bin:$(value PATH)

.PHONY: help demo loop test check bench picture clean

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## generate the flights project into demo/, train and judge its model, and show the verdict
	@python -m scripts.demo "$$DEMO"

loop: $(READY) ## run the generated workflows, from a first push to the image of the retrained model (needs act, gh and podman)
	@pytest -q -s tests/workflows/loop.py

test: $(READY) ## run everything: lint, types, then the tests from cheap to expensive
	@$(MAKE) --no-print-directory check
	@pytest -n 2 --no-loadscope-reorder --durations 40 --durations-min 10 --attempts=table

check: $(READY) ## lint the template's own Python and check its types
	@ruff check .
	@ruff format --check .
	@mypy

bench: demo ## measure everything against what it replaces, and write benchmarks/README.md
	@python -m benchmarks

picture: demo ## draw the README's picture of a report, from a change of the demo's model (needs chromium and npm)
	@python -m scripts.picture "$$DEMO"

clean: ## remove the environment and the demo
	rm -rf .venv .tools demo

$(READY): pyproject.toml $(if $(filter .tools/%,$(UV)),.tools/bin/uv)
	@echo "setting up .venv"
	@"$(UV)" sync --quiet --python '>=3.11,<3.14'
	@touch $@

.tools/bin/uv:
	@python3 -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
