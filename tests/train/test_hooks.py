"""Hooks: a user's own functions see the network after every evaluation, and what they find is logged."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import cnnjax
from cnnjax.config import ConfigError, change
from cnnjax.runs.lines import curves_of
from cnnjax.sweep.local import run_sweep
from tests.sweep.points import get_config, lines

CALLS = []


def certain(step, trained, metrics):
    """How certain the net is of the first test pictures, as a number and a picture."""
    images = trained.source.test.read(np.arange(4))["image"]
    confidence = trained.predict(images)["probabilities"].max(-1)
    CALLS.append((step, trained.workdir.name, metrics["accuracy"]))
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot(confidence)
    return {"confidence": confidence.mean(), "bars": figure}


def silent(step, trained, metrics):
    """Finds nothing."""


def broken(step, trained, metrics):
    """Works once."""
    return {"left": 1 / (16 - step)}


def crooked(trained):
    """No hook."""


def config(*names, **changes):
    hooks = tuple(f"tests.train.test_hooks:{name}" for name in names)
    quick = {
        "model.name": "tests.train.own_nets:without_train",
        "report.hooks": hooks,
        "train.steps": 16,
        "eval.test": False,
        "report.tensorboard": True,
    }
    return change(get_config(), {**quick, **changes})


def test_a_hook_is_called_after_every_evaluation_and_its_numbers_and_figures_are_logged(tmp_path):
    CALLS.clear()
    trained = cnnjax.run(config("certain", "silent"), tmp_path)
    evaluated = curves_of(tmp_path, "eval.accuracy")
    assert [(step, accuracy) for step, _, accuracy in CALLS] == list(zip(*evaluated, strict=True))
    steps, found = curves_of(tmp_path, "certain.confidence")
    assert steps == [8, 16]
    images = trained.source.test.read(np.arange(4))["image"]
    assert found[-1] == pytest.approx(trained.predict(images)["probabilities"].max(-1).mean(), rel=1e-5)
    assert (tmp_path / "pictures/certain_bars_000016.png").read_bytes().startswith(b"\x89PNG")
    events = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"certain_bars" in events
    assert b"certain/confidence" in events


def test_members_of_a_pack_are_shown_each_by_itself(tmp_path):
    CALLS.clear()
    assert not run_sweep(config("certain"), [{"seed": 0}, {"seed": 1}], tmp_path, strategy="vmap", say=lambda _: None)
    assert sorted((step, name) for step, name, _ in CALLS) == [(s, f"seed={k}") for s in (8, 16) for k in (0, 1)]
    found = [curves_of(tmp_path / f"seed={k}", "certain.confidence")[1] for k in (0, 1)]
    assert found[0] != found[1]


def test_one_that_fails_is_named_with_its_line_and_changes_nothing(tmp_path, capsys):
    cnnjax.run(config("broken"), tmp_path / "with")
    cnnjax.run(config(), tmp_path / "without")
    told = capsys.readouterr().err
    assert "report.hooks: broken failed at step 16, line" in told
    assert "test_hooks.py (ZeroDivisionError: division by zero); training goes on without it" in told
    mine = [line for line in lines(tmp_path / "with") if line.get("split") != "broken"]
    assert mine == lines(tmp_path / "without")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "report.hooks has 'nothing'; it must be module:function, as in my_file:each_epoch"),
        ("tests.train.nowhere:f", "report.hooks is 'tests.train.nowhere:f'; importing tests.train.nowhere failed"),
        ("tests.train.test_hooks:certian", "has no such function; nearest: certain"),
        ("tests.train.test_hooks:crooked", r"can't be called as a hook is: def crooked\(step, trained, metrics\)"),
    ],
)
def test_what_is_no_hook_is_refused_before_anything_compiles(name, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        cnnjax.run(change(get_config(), {"report.hooks": (name,)}), tmp_path)
