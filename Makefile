# `make train` trains LeNet-5 on the embedded digits; `make test` runs the tests. Both prepare .venv first.
.PHONY: train test proofs lint lock
PYTHON := .venv/bin/python

train: .venv/installed
	@$(PYTHON) -m experiments.train --config=configs/digits.py --workdir=runs/digits

test: .venv/installed
	@$(PYTHON) -m pytest -q -n 2 --dist worksteal

# The long proofs: every variant of every network for real, recipes, runs that are killed and resumed.
proofs: .venv/installed
	@$(PYTHON) -m pytest -q -n 2 --dist worksteal -m proofs

lint: .venv/installed
	@$(PYTHON) -m ruff check .

.venv/installed: requirements.lock pyproject.toml .ci/install
	@.ci/install

# Needs uv. The lock holds versions and hashes, never where they come from; it serves Python 3.12 and 3.13.
lock:
	@uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --extra dev pyproject.toml -o requirements.lock
