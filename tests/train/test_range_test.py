"""The learning-rate range test: what it suggests trains, what bursts is not suggested, and the program draws it."""

import numpy as np
import pytest

import cnnjax
from cnnjax.config import ConfigError, change, numeric, section
from cnnjax.programs import lr
from cnnjax.train import range_test
from tests.sweep.points import get_config


def config(**changes):
    return change(get_config(), {"model.norm": "none", "model.dropout": 0.0, **changes})


@pytest.fixture(scope="module")
def found():
    return cnnjax.lr_range(config(), low=1e-5, high=1e3, steps=60)


def test_the_suggestion_lies_where_the_loss_falls_and_the_test_ends_where_it_bursts(found):
    assert len(found.rates) == len(found.losses) == len(found.smooth) < 60
    assert 1e-3 < found.suggestion < found.rates[np.argmin(found.smooth)] < 10
    assert found.losses[-1] > 2 * found.losses.min()
    assert repr(found).endswith(f"suggestion {found.suggestion:g}")


def test_the_first_loss_is_that_of_the_trainings_first_batch_and_the_next_is_what_the_rate_made_of_it(found):
    still = cnnjax.lr_range(config(), low=1e-30, high=1e-29, steps=10)
    assert still.losses[0] == pytest.approx(found.losses[0], rel=1e-6)
    again = cnnjax.lr_range(config(**{"optimizer.lr": 0.7, "schedule.name": "triangle"}), low=1e-5, high=1e3, steps=60)
    np.testing.assert_allclose(again.losses[:20], found.losses[:20], rtol=1e-4)  # of no schedule and no rate before


def test_the_rates_of_groups_keep_their_proportion():
    slow = section("optimizers", "muon", lr=0.01, rest_lr=0.001)
    made = config()
    with made.unlocked():
        made.optimizer = section("optimizers", "sgd", lr=0.1, groups=(("head", "slow"),), slow=slow)
    found = range_test._at(0.5, numeric(made))
    wanted = {"optimizer.lr": 0.5, "optimizer.slow.lr": 0.05, "optimizer.slow.rest_lr": 0.005}
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ({"low": 1.0, "high": 0.1}, {}, "rates 1 to 0.1 in 100 steps: give 0 < low < high"),
        ({}, {"optimizer.lr": 0.0}, "optimizer.lr is 0.0; it must be positive"),
        ({"low": 1e37, "high": 1e38}, {}, "the loss is not finite at a rate of .* already; begin with less"),
    ],
)
def test_what_cannot_be_tried_is_refused(options, changes, words):
    with pytest.raises(ConfigError, match=words):
        cnnjax.lr_range(config(**changes), **options)


def test_the_program_draws_a_picture_and_says_the_flag(tmp_path, capsys):
    small = ("--config.model.hidden=8", "--config.augment.train=normalize", "--config.train.devices=1")
    lr.main(["--config=digits:mlp", "--steps=20", f"--out={tmp_path}/lr.png", *small])
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert "--config.optimizer.lr=" in capsys.readouterr().out
