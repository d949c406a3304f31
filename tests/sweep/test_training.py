"""Members of a pack are the runs that they would be alone."""

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax.config import change
from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.runs.json_files import read_status
from cnnjax.runs.signals import Stop
from cnnjax.sweep import training
from cnnjax.sweep.local import run_packs, train_one
from cnnjax.sweep.points import packs_of, resolved
from cnnjax.sweep.training import train_pack
from cnnjax.train.loop import Preempted
from cnnjax.train.parallel import STRATEGIES, Layout, MemberLayout
from cnnjax.train.state import State
from tests.sweep import points as tiny
from tests.sweep.points import STEPS, alike, lines, sweep

QUIET = {"say": lambda text: None}


def get_config():
    """The points' config with a convolution, whose members are most unlike its solo run's."""
    return change(tiny.get_config(), {"model.name": "tests.train.nets:small"})


def plain():
    """The points' config with a net that is compiled sooner."""
    return change(tiny.get_config(), {"model.name": "tests.train.own_nets:without_train", "optimizer.ema": 0.0})


def trained(pack, strategy):
    with Stop() as stop:
        train_pack(pack, stop, strategy=strategy, **QUIET)


def state_of(run, like):
    with Checkpoints(run.workdir) as checkpoints:
        return checkpoints.restore(like)[:2]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Two points that differ in everything that members may differ in, each trained by itself."""
    runs = resolved(get_config(), OWN_ORDERS, tmp_path_factory.mktemp("alone"))
    return {run.config.optimizer.lr: cnnjax.run(run.config, run.workdir) for run in runs}


OWN_ORDERS = [{"optimizer.lr": 0.003}, {"optimizer.lr": 0.05, "seed": 1, "data.seed": 5}]
DOOMED = [{"optimizer.lr": 0.003}, {"optimizer.lr": 1e37, "seed": 1}, {"optimizer.lr": 0.02, "seed": 2}]


@pytest.mark.parametrize(
    ("strategy", "points", "exact"),
    [
        ("turns", OWN_ORDERS, True),
        pytest.param("map", DOOMED, False, marks=pytest.mark.proofs),
        ("vmap", OWN_ORDERS, False),
        pytest.param("devices", OWN_ORDERS, False, marks=pytest.mark.proofs),
    ],
)
def test_a_member_is_its_solo_run(strategy, points, exact, alone, tmp_path):
    (pack,) = packs_of(resolved(get_config(), points, tmp_path))
    trained(pack, strategy)
    compared = [run for run in pack.runs if run.config.optimizer.lr in alone]
    assert len(compared) >= 1
    for run in compared:
        assert_equal(run, alone[run.config.optimizer.lr], exact=exact)
    if points is DOOMED:
        assert [run.status["status"] for run in pack.runs] == ["complete", "interrupted", "complete"]
        doomed = pack.runs[1]
        assert "3 updates in a row were not finite" in doomed.status["frozen"]["reason"]
        (dead,) = train_one(doomed, retries=0, **QUIET)
        assert "updates in a row were not finite, steps" in dead.error
        assert doomed.status["status"] == "diverged"


def assert_equal(run, solo, *, exact):
    """The files of a member hold what those of its solo run hold."""
    step, state = state_of(run, solo.state)
    assert step == STEPS
    for mine, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(solo.state), strict=True):
        np.testing.assert_allclose(np.asarray(mine), np.asarray(theirs), rtol=0 if exact else 2e-3, atol=1e-5)
    assert alike(lines(run.workdir), lines(solo.workdir), exact=exact)
    assert files_of(run.workdir) == files_of(solo.workdir)
    assert files_of(run.workdir / "checkpoints") == files_of(solo.workdir / "checkpoints")
    assert read_status(run.workdir).keys() == read_status(solo.workdir).keys()
    assert run.status["status"] == "complete"


def files_of(folder):
    return {path.name for path in folder.iterdir()} - {"lock.json"}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_members_change_places_and_keep_their_seeds_and_take_new_numbers(strategy):
    def state(k):
        counters = {name: np.int32(k) for name in ("step", "streak", "bad", "skipped", "rollbacks")}
        trees = {"params": {"w": np.full(2, k, np.float32)}, "model_state": {}, "opt_state": {}, "ema": {}, "sums": {}}
        return State(seed=np.uint32(k), hparams={"lr": np.float32(k)}, **trees, **counters)

    side = MemberLayout(strategy, 3, Layout("jit", tuple(jax.devices()[:2])))
    states = side.join([state(k) for k in range(3)])
    moved = side.apart(side.exchange(states, (2, 1, 1), [{"lr": np.float32(0.5)}] * 3))
    assert [int(each.seed) for each in moved] == [0, 1, 2]
    assert [int(each.step) for each in moved] == [2, 1, 1]
    assert [float(each.params["w"][0]) for each in moved] == [2, 1, 1]
    assert [float(each.hparams["lr"]) for each in moved] == [0.5] * 3


@pytest.mark.proofs
def test_auto_times_every_strategy_of_a_long_pack_and_trains_by_the_quickest(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_SHORT", 0.0)
    (pack,) = packs_of(resolved(plain(), sweep()[:2], tmp_path))
    said, chosen = [], []
    with Stop() as stop:
        strategy = train_pack(pack, stop, say=said.append, chosen=chosen.append)
    assert chosen == [strategy]
    times = {
        words.split()[0]: float(words.split()[1]) for words in said[4].partition(": ")[2].split("; ")[0].split(", ")
    }
    assert list(times) == list(STRATEGIES)
    assert said[:4] == [f"trying {name} with 2 members: compiling, then 3 steps" for name in STRATEGIES]
    assert said[4].endswith(f"training by {strategy}")
    assert times[strategy] == min(times.values())
    run = pack.runs[-1]
    assert_equal(run, cnnjax.run(run.config, tmp_path / "alone"), exact=False)


def test_a_signal_ends_the_trial_of_strategies_before_the_next_step(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_SHORT", 0.0)
    (pack,) = packs_of(resolved(plain(), sweep()[:2], tmp_path))
    said = []
    with Stop() as stop:

        def told(text):
            said.append(text.split(" with")[0])
            stop.wanted = said[-1] == "trying map"

        with pytest.raises(Preempted, match="stopped by a signal at step 0 of 24, while map was tried"):
            train_pack(pack, stop, say=told)
    assert said == ["trying turns", "trying map"]
    assert [run.status["status"] for run in pack.runs] == ["interrupted"] * 2


def test_a_point_that_raises_is_tried_again_and_listed_with_its_traceback_while_others_go_on(tmp_path):
    config = change(plain(), {"eval.test": False})
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
    (pack,) = packs_of(resolved(plain(), sweep()[:2], tmp_path))
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
