# `make train` trains LeNet-5 on the embedded digits; `make test` runs the tests. Both prepare .venv first.
.PHONY: train test doors proofs lint lock
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

.venv/installed: requirements.lock pyproject.toml .ci/install
	@.ci/install

# Needs uv. The lock holds versions and hashes, never where they come from; it serves Python 3.12 and 3.13.
lock:
	@uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --extra dev pyproject.toml -o requirements.lock
