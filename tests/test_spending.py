"""What tests spend is counted, their own processes included, and tests that share a fixture share a worker."""

import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT
from tests.scheduling import scope_of
from tests.spending import BUDGETS, over, spent


def test_a_process_that_has_ended_is_counted_with_whoever_started_it():
    before = spent()
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    assert 0.3 <= spent() - before < 3


def test_budgets_are_those_of_what_make_selects():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    doors = "doors and not proofs"
    assert set(BUDGETS) == {"not doors and not proofs", doors}
    assert "-m 'not doors and not proofs'" in options["addopts"]
    assert f'-m "{doors}"' in (ROOT / "Makefile").read_text()
    assert over(BUDGETS[doors] + 5, doors) == pytest.approx(5)
    assert over(BUDGETS[doors] - 5, doors) == over(1e9, "proofs") == 0


def test_tests_that_share_a_fixture_of_their_module_share_a_worker_and_others_go_where_there_is_room():
    sweeps = {scope_of(f"tests/sweep/test_local.py::test_{name}") for name in "ab"}
    assert sweeps == {"tests/sweep/test_local.py"}
    tasks = [scope_of(f"tests/tasks/test_battery.py::test_{name}") for name in ("a[gan]", "b[gan]", "a[forecast]")]
    assert tasks[0] == tasks[1] != tasks[2]
    alone = "tests/test_spending.py::test_a"
    assert scope_of(alone) == alone
