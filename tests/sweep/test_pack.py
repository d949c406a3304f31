"""Members of a pack are the runs that they would be alone."""

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax.config import change
from cnnjax.sweep.pack import train_pack
from cnnjax.sweep.packing import Pack, packs_of, resolved
from cnnjax.sweep.running import attempt, run_packs
from cnnjax.train.checkpoint import Checkpoints
from cnnjax.train.parallel import WAYS, Members
from cnnjax.train.signals import Stop
from cnnjax.train.state import State
from cnnjax.train.workdir import read_status
from tests.sweep.points import STEPS, alike, get_config, lines, sweep

QUIET = {"say": lambda text: None}


def trained(pack, way):
    with Stop() as stop:
        train_pack(pack, stop, way=way, **QUIET)


def state_of(run, like):
    with Checkpoints(run.workdir) as checkpoints:
        return checkpoints.restore(like)[:2]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Two points that differ in everything that members may differ in, each trained by itself."""
    runs = resolved(get_config(), OWN_ORDERS, tmp_path_factory.mktemp("alone"))
    return {run.config.optimizer.lr: cnnjax.run(run.config, run.workdir) for run in runs}


OWN_ORDERS = [{"optimizer.lr": 0.003}, {"optimizer.lr": 0.05, "seed": 1, "data.seed": 5}]
SHARED = [{"optimizer.lr": 0.003}, {"optimizer.lr": 0.01, "seed": 1}, {"optimizer.lr": 0.02, "seed": 2}]


@pytest.mark.parametrize(
    ("way", "points", "exact"),
    [("turns", OWN_ORDERS, True), ("map", SHARED, False), ("vmap", OWN_ORDERS, False), ("devices", OWN_ORDERS, False)],
)
def test_a_member_is_its_solo_run(way, points, exact, alone, tmp_path):
    (pack,) = packs_of(resolved(get_config(), points, tmp_path))
    trained(pack, way)
    for run in pack.runs:
        if run.config.optimizer.lr not in alone:
            continue
        solo = alone[run.config.optimizer.lr]
        step, state = state_of(run, solo.state)
        assert step == STEPS
        for mine, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(solo.state), strict=True):
            np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), rtol=0 if exact else 2e-3, atol=1e-5)
        assert alike(lines(run.workdir), lines(solo.workdir), exact=exact)
        files = {path.name for path in solo.workdir.iterdir()} - {"lock.json"}
        assert {path.name for path in run.workdir.iterdir()} == files
        assert sorted(path.name for path in (run.workdir / "checkpoints").iterdir()) == sorted(
            path.name for path in (solo.workdir / "checkpoints").iterdir()
        )
        mine, theirs = read_status(run.workdir), read_status(solo.workdir)
        assert mine.keys() == theirs.keys()
        assert mine["status"] == "complete"


@pytest.mark.parametrize("way", WAYS)
def test_members_change_places_and_keep_their_seeds_and_take_new_numbers(way):
    def state(k):
        counters = {name: np.int32(k) for name in ("step", "streak", "bad", "skipped", "rollbacks")}
        trees = {"params": {"w": np.full(2, k, np.float32)}, "model_state": {}, "opt_state": {}, "ema": {}, "sums": {}}
        return State(seed=np.uint32(k), hparams={"lr": np.float32(k)}, **trees, **counters)

    side = Members(way, 3, tuple(jax.devices()[:2]))
    states = side.join([state(k) for k in range(3)])
    moved = side.apart(side.exchange(states, (2, 1, 1), [{"lr": np.float32(0.5)}] * 3))
    assert [int(each.seed) for each in moved] == [0, 1, 2]
    assert [int(each.step) for each in moved] == [2, 1, 1]
    assert [float(each.params["w"][0]) for each in moved] == [2, 1, 1]
    assert [float(each.hparams["lr"]) for each in moved] == [0.5] * 3


def test_a_member_that_would_roll_back_is_frozen_and_trained_alone_and_hurts_nobody(alone, tmp_path):
    runs = resolved(get_config(), [{"optimizer.lr": 0.003}, {"optimizer.lr": 1e37}], tmp_path)
    said = []
    dead = attempt(Pack(tuple(runs)), tmp_path, way="map", retries=0, say=said.append)
    assert any("lr=1e+37 is frozen before step" in line and "trained alone" in line for line in said)
    assert [point.name for point in dead] == ["lr=1e+37"]
    assert "updates in a row were not finite" in dead[0].error
    assert read_status(runs[1].workdir)["status"] == "diverged"
    assert alike(lines(runs[0].workdir), lines(alone[0.003].workdir))


def test_a_point_that_raises_is_tried_again_and_listed_with_its_traceback_while_others_go_on(tmp_path):
    config = change(get_config(), {"train.steps": 4, "eval.test": False})
    points = [{"train.batch": 32}, {"train.batch": 10**6}]
    said = []
    dead = run_packs(resolved(config, points, tmp_path), tmp_path, retries=1, say=said.append)
    (point,) = dead
    assert point.name == "batch=1000000"
    assert "the training split has 1337 examples" in point.error
    assert "Traceback" in point.story
    assert sum("batch=1000000 failed" in line for line in said) == 2
    assert read_status(tmp_path / "batch=32")["status"] == "complete"


def test_members_saved_at_different_steps_go_on_from_the_newest_that_all_have(tmp_path):
    (pack,) = packs_of(resolved(get_config(), sweep()[:2], tmp_path))
    trained(pack, "turns")
    first, second = pack.runs
    before = [lines(run.workdir) for run in pack.runs]
    for run in pack.runs:  # as a kill among the last saves leaves them
        (run.workdir / "status.json").unlink()
    with Checkpoints(first.workdir) as checkpoints:
        checkpoints.truncate(STEPS - 12)
    trained(pack, "turns")
    assert [lines(run.workdir) for run in pack.runs] == before
    assert all(run.status["status"] == "complete" for run in pack.runs)
    assert cnnjax.evaluate(second.workdir, checkpoint="last")["accuracy"] == before[1][-1]["accuracy"]
