"""Things in motion, of which only the order of the frames tells which way."""

import numpy as np
import pytest

from cnnjax.data import check, moving
from cnnjax.data.motions import FRAMES, MOTIONS, clip, handwritten
from cnnjax.refusals import ConfigError

OPTIONS = {"size": 16, "things": "both", "clutter": 3}
DRAWN = handwritten()


def frames(motion, index=0, noise=0):
    return clip(0, 0, index, motion, DRAWN, noise=noise, **OPTIONS)[..., 0]


def test_clips_are_a_function_of_world_split_and_index():
    one, other = moving(train=6, test=8, size=16), moving(train=9, test=3, size=16)
    check(one, 6)
    assert one.facts.shape == (37, 16, 16, 1)
    assert one.facts.names == tuple(MOTIONS)
    np.testing.assert_array_equal(one.train.arrays["video"], other.train.arrays["video"][:6])
    assert not np.array_equal(one.train.arrays["video"], one.test.arrays["video"][:6])
    assert not np.array_equal(
        one.train.arrays["video"], moving(train=6, test=2, size=16, world=1).train.arrays["video"]
    )
    np.testing.assert_array_equal(one.test.arrays["label"], np.arange(8))


@pytest.mark.parametrize("index", range(4))
def test_every_motion_shows_the_same_pictures_in_another_order(index):
    """So whatever looks at frames alone, at one or at all of them, is at chance: no picture speaks for a motion."""
    found = {motion: frames(motion, index) for motion in MOTIONS}
    kinds = {name: sorted(frame.tobytes() for frame in each) for name, each in found.items()}
    assert all(kind == kinds["right"] for kind in kinds.values())
    assert len(set(kinds["right"])) == FRAMES
    assert len({each.tobytes() for each in found.values()}) == len(MOTIONS)
    np.testing.assert_array_equal(np.stack([each[0] for each in found.values()]), [found["up"][0]] * len(MOTIONS))


def test_where_a_thing_begins_says_nothing_of_where_it_goes_and_it_may_begin_anywhere():
    starts = np.stack([frames("right", index)[0] for index in range(200)]).astype(float)
    apart = np.abs(starts - np.stack([np.median(frames("right", index), 0) for index in range(200)]))
    rows, columns = (apart.sum((0, axis)) for axis in (2, 1))
    assert rows.min() > 0.6 * rows.mean()
    assert columns.min() > 0.6 * columns.mean()


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_thing_goes_where_its_label_says(motion):
    """By the phase of the slowest waves: a thing that moves by d turns the wave of length L by 2πd/L."""
    moves = []
    for index in range(5):
        each = frames(motion, index).astype(float)
        waves = np.fft.fft2(each - np.median(each, 0))
        turned = waves[:-1] * waves[1:].conj()
        moves.append([np.angle(turned[:, 1, 0].sum()), np.angle(turned[:, 0, 1].sum())])
    down, right = np.median(moves, 0) / (2 * np.pi) * FRAMES
    fast = 2 if motion.startswith("fast") else 1
    ways = {"right": (1, 6), "down": (6, -1), "left": (-1, -6), "up": (-6, 1)}
    wanted = np.array(ways[motion.removeprefix("fast ")]) * fast
    assert (down, right) == pytest.approx(tuple(wanted), abs=0.6)


def test_noise_is_new_in_every_frame_and_keeps_its_bound():
    apart = frames("left", noise=16).astype(int) - frames("left")
    assert 14 <= np.abs(apart).max() <= 17
    assert np.abs(np.corrcoef(apart[0].ravel(), apart[1].ravel())[0, 1]) < 0.3


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("size", 8, "data.size is 8; it must be ≥ 16 and ≤ 1024"),
        ("things", "cars", "data.things is 'cars'; allowed: both, digits, shapes"),
        ("noise", 200, "data.noise is 200; it must be ≥ 0 and ≤ 127"),
    ],
)
def test_options_out_of_range_are_refused(option, value, text):
    with pytest.raises(ConfigError) as refused:
        moving(**{option: value})
    assert str(refused.value) == text


@pytest.mark.proofs
@pytest.mark.parametrize(("variant", "low", "high"), [("c3d", 0.98, 1.0), ("frames", 0.06, 0.19)])
def test_convolutions_in_time_tell_motions_apart_and_frames_do_not(tmp_path, train_apart, variant, low, high):
    """Chance is 0.125, of 512 clips give or take 0.015."""
    assert low <= train_apart(f"configs/moving.py:{variant}", tmp_path).measure("test")["accuracy"] <= high
