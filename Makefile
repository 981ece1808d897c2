# Each target makes the environment it needs: python3 (3.11), make and the network are enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
READY := $(VENV)/.ready
KEEP ?= leukonode-demo
# Tests on real pictures look for their collection beside the checkout; missing, they are skipped.
export LEUKONODE_PICTURES ?= $(wildcard $(abspath ../shared/data))
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test check serve clean

demo: $(READY)
	$(VENV)/bin/leukonode demo --keep "$(KEEP)" $(if $(IMAGES),--images "$(IMAGES)")

test: $(READY)
	$(VENV)/bin/python -m pytest $(PYTEST)

check: $(READY)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

serve: $(READY)
	$(VENV)/bin/leukonode serve

$(READY): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "LeukoNode needs Python 3.11, but $(PYTHON) is another one; say which with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV); the first time takes some minutes"
	PIP_CONSTRAINT=constraints.txt $(VENV)/bin/pip install --quiet --progress-bar on --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) leukonode-demo dist build .mypy_cache .pytest_cache .ruff_cache
