# `make train` trains LeNet-5 on the embedded digits; `make test` runs the tests. Both prepare .venv first.
# `make train EXTRAS=cuda13` (or cuda12, tpu) installs what a GPU or TPU needs, once: .venv keeps it.
.PHONY: train test doors proofs lowest lint lock again
PYTHON := .venv/bin/python
PYTEST := $(PYTHON) -m pytest -q -n 2

train: .venv/installed
	@$(PYTHON) -m experiments.train --config=configs/digits.py --workdir=runs/digits

test: .venv/installed
	@$(PYTEST)

# What starts processes: the README in a clone, the command line, runs that are killed, the wheel, the notebooks.
doors: .venv/installed
	@$(PYTEST) -m "doors and not proofs"

# What takes longer: every variant of every network for real, recipes, many kills.
proofs: .venv/installed
	@$(PYTEST) -m proofs

lint: .venv/installed
	@$(PYTHON) -m ruff check .

.venv/installed: requirements.lock pyproject.toml .ci/install $(if $(filter-out $(shell cat .venv/installed 2>&-),$(EXTRAS)),again)
	@EXTRAS="$(EXTRAS)" .ci/install

# The oldest versions that pyproject.toml promises, in an environment of their own: digits, and every room's contract.
lowest: .venv-lowest/installed
	@.venv-lowest/bin/python -m experiments.train --config=configs/digits.py --workdir=runs/digits-lowest
	@.venv-lowest/bin/python -m pytest -q -n 2 --dist worksteal -W ignore::DeprecationWarning \
	  tests/test_versions.py tests/*/test_battery.py tests/models/test_contract.py tests/data/test_stream.py tests/runs

.venv-lowest/installed: .ci/lowest.lock pyproject.toml .ci/install
	@VENV=.venv-lowest LOCK=.ci/lowest.lock EXTRAS= .ci/install

# Needs uv. The locks hold versions and hashes, never where they come from; requirements.lock serves Python 3.12 to 3.14.
lock:
	@$(COMPILE) requirements.lock
	@$(COMPILE) .ci/lowest.lock --resolution lowest-direct
COMPILE := uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-annotate \
  --custom-compile-command "make lock" --extra dev pyproject.toml -o
