"""The small sweeps that show something: what each must show is written where it is run from."""

import re
from pathlib import Path

import pytest

from cnnjax.config import beside, load
from cnnjax.sweep.points import packs_of, preview, resolved

CURVES = sorted((Path(__file__).parents[2] / "configs").glob("curve_*.py"))
FULL = ("curve_depth", "curve_norm", "curve_permutation", "curve_pooling")


def test_there_is_a_curve_for_each_question():
    questions = "activation augmentation batch depth init loss norm padding permutation pooling seeds"
    assert [path.stem for path in CURVES] == [f"curve_{word}" for word in questions.split()]


@pytest.mark.parametrize("path", CURVES, ids=lambda path: path.stem)
def test_a_curve_says_how_it_is_run_what_it_must_show_and_what_came_of_it(path, tmp_path):
    text = path.read_text().partition('"""')[2].partition('"""')[0]
    command = f"python -m experiments.sweep --config=configs/{path.name} --workdir=runs/{path.stem}"
    assert command in text
    assert "Must show: " in text
    assert re.search("commit [0-9a-f]{7}, ", text) or "Not yet run." in text
    runs = resolved(load(str(path)), beside(str(path), "sweep"), tmp_path)
    seeds = {run.config.seed for run in runs}
    assert len(seeds) >= 2
    packs = packs_of(runs)
    assert all(len(pack.runs) >= len(seeds) and pack.shared for pack in packs)
    assert preview(packs).count(" new") == len(runs)


@pytest.mark.parametrize("name", FULL)
def test_the_full_size_of_a_curve_has_the_same_points_and_other_numbers(name, tmp_path):
    path = Path(__file__).parents[2] / "configs" / f"{name}.py"
    runs, small = (resolved(load(f"{path}{v}"), beside(str(path), "sweep"), tmp_path) for v in (":full", ""))
    assert [run.name for run in runs] == [run.name for run in small]
    assert all(full.config != other.config for full, other in zip(runs, small, strict=True))
    assert f"`--config=configs/{name}.py:full`" in path.read_text()
