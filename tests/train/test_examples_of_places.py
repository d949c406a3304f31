"""What an evaluation keeps of every picture whose things or points are predicted."""

import jax
import numpy as np
import pytest

from cnnjax.programs._worst import heading
from cnnjax.train import examples


def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.clip(high - low, 0, None))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def scenes(draw, rows):
    low = draw.integers(0, 5, (60, rows, 2))
    return {
        "boxes": np.concatenate([low, low + draw.integers(4, 9, (60, rows, 2))], -1).astype(np.float32),
        "classes": draw.integers(0, 2, (60, rows)),
        "present": draw.integers(0, 2, (60, rows)).astype(np.float32),
    }


def test_of_boxes_it_is_how_many_there_are_are_found_and_are_false():
    draw = np.random.default_rng(0)
    said, truth = scenes(draw, 6), scenes(draw, 4)
    truth["ignored"] = (draw.random((60, 4)) < 0.3).astype(np.float32)
    found = jax.tree.map(np.asarray, jax.jit(examples._things)(said, truth))
    for i in range(60):
        there = [j for j in range(4) if truth["present"][i, j]]
        counted = [j for j in there if not truth["ignored"][i, j]]
        of = lambda d, j: truth["ignored"][i, j] or said["classes"][i, d] == truth["classes"][i, j]  # noqa: B023, E731
        listed = np.flatnonzero(said["present"][i])
        met = {
            (d, j)
            for d in listed
            for j in there
            if of(d, j) and overlap(said["boxes"][i, d], truth["boxes"][i, j]) >= 0.5
        }
        assert found["things"][i] == len(counted)
        assert found["found"][i] == len({j for _, j in met} & set(counted))
        assert found["false"][i] == len(listed) - len({d for d, _ in met})
    assert all(found[name].sum() > 5 for name in ("things", "found", "false"))
    entry = {name: int(value[0]) for name, value in found.items()} | {"loss": 1.5}
    assert heading(entry).startswith(f"{entry['found']} of {entry['things']} found")


def test_of_points_it_is_how_far_those_that_can_be_seen_are_off():
    draw = np.random.default_rng(1)
    points, truth = draw.uniform(0, 30, (2, 5, 4, 2)).astype(np.float32)
    visible = np.float32([[1, 1, 0, 1]] * 4 + [[0] * 4])
    off = jax.jit(examples._distance)({"points": points}, {"points": truth, "visible": visible})["off"]
    wanted = np.hypot(*np.moveaxis(points - truth, -1, 0))[:4, [0, 1, 3]].mean(1)
    np.testing.assert_allclose(off[:4], wanted, rtol=1e-5)
    assert np.isnan(off[4])
    assert heading({"off": float(wanted[0]), "loss": 2.0}) == f"{wanted[0]:.1f} pixels off · loss 2"
    assert heading({"off": None, "loss": 2.0}) == "loss 2"


@pytest.mark.parametrize("words", [{"label": np.zeros(3)}, {"boxes": np.zeros((3, 1, 4))}])
def test_what_predicts_neither_has_neither(words):
    assert examples._things(words, words) == examples._distance(words, words) == {}
