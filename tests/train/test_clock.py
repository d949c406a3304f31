"""What a training does by the clock: saves in between, and an end before its time is up."""

import json

import pytest

import cnnjax
from cnnjax.config import change
from cnnjax.runs.checkpoints import Checkpoints
from cnnjax.runs.json_files import read_status
from cnnjax.runs.signals import Stop
from cnnjax.sweep.points import packs_of, resolved
from cnnjax.sweep.training import train_pack
from cnnjax.train import clock
from cnnjax.train.clock import Clock
from cnnjax.train.loop import Preempted
from tests.train.test_changed_runs import STEPS, config
from tests.trainings import lines, same

SOON = 1e-9

pytestmark = pytest.mark.usefixtures("once")


@pytest.fixture(scope="module")
def straight(once, tmp_path_factory):
    """The run that no clock disturbs."""
    return cnnjax.run(config(), tmp_path_factory.mktemp("straight"))


def test_a_run_whose_minutes_are_over_saves_and_stops_and_goes_on_to_the_same_end(straight, tmp_path):
    limited = config(train__minutes=SOON)
    for step in (1, 2, 3):  # each call takes a dispatch, whatever its limit
        with pytest.raises(
            Preempted, match=f"^stopped by its 1e-09 minutes .train.minutes. at step {step} of"
        ) as caught:
            cnnjax.run(limited, tmp_path)
        assert caught.value.exit_code == 75
        assert (read_status(tmp_path)["status"], read_status(tmp_path)["step"]) == ("interrupted", step)
        assert Checkpoints(tmp_path).steps()[-1] == step
    resumed = cnnjax.run(config(), tmp_path)  # the limit is no part of the result
    same(resumed.state, straight.state)
    assert lines(tmp_path) == lines(straight.workdir)


def test_saves_by_minutes_come_in_between_and_change_nothing(straight, tmp_path):
    often = config(checkpoint__minutes=SOON, checkpoint__keep=STEPS, checkpoint__steps=STEPS)
    trained = cnnjax.run(often, tmp_path)
    assert Checkpoints(tmp_path).steps() == list(range(1, STEPS + 1))
    same(trained.state, straight.state)
    assert lines(tmp_path) == lines(straight.workdir)
    seldom = cnnjax.run(change(often, {"checkpoint.minutes": 10.0}), tmp_path / "seldom")
    assert Checkpoints(seldom.workdir).steps() == [STEPS]


def test_packs_go_by_the_clock_too(straight, tmp_path):
    made = config(checkpoint__minutes=SOON, checkpoint__keep=STEPS, checkpoint__steps=STEPS)
    (pack,) = packs_of(resolved(made, [{"optimizer.lr": 0.01}, {"optimizer.lr": 0.03}], tmp_path))
    with Stop() as stop:
        train_pack(pack, stop, strategy="turns", say=lambda text: None)
    assert [Checkpoints(run.workdir).steps() for run in pack.runs] == [list(range(1, STEPS + 1))] * 2
    assert lines(pack.runs[0].workdir) == lines(straight.workdir)
    (pack,) = packs_of(resolved(config(train__minutes=SOON), [{"seed": 0}, {"seed": 1}], tmp_path / "limited"))
    with Stop() as stop, pytest.raises(Preempted, match=r"minutes .* at step 1 of 12; all members are saved"):
        train_pack(pack, stop, strategy="turns", say=lambda text: None)
    assert [Checkpoints(run.workdir).steps() for run in pack.runs] == [[1], [1]]


def test_time_is_up_while_the_longest_way_to_the_next_look_and_a_save_still_fit(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    watch = Clock(config(train__minutes=10))
    watch.start(1000.0)

    def after(seconds, saving=5.0):
        now[0] += seconds
        return watch.is_up(saving)

    assert not after(300)  # opening the data; the first look
    assert not after(200)  # compiling is no way from one step to the next
    assert not after(30)
    assert not after(30)  # 560 + 30 + 5 are less than 600
    assert after(6)  # 566 + 30 + 5 are more
    watch.start(now[0])
    assert not after(700)
    assert after(1), "one dispatch is taken in any case, and no more"


def test_without_minutes_no_time_is_ever_up(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    watch = Clock(config())
    for _ in range(5):
        now[0] += 1e9
        assert not watch.is_up(0.0)
        assert not watch.save_is_due()


def test_both_are_recorded_and_no_other_run(straight):
    cnnjax.run(config(train__minutes=55, checkpoint__minutes=10), straight.workdir)
    story = json.loads((straight.workdir / "config.json").read_text())
    assert story["before"] == [{"train.minutes": 0.0, "checkpoint.minutes": 0.0}]
