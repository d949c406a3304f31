"""Boxes in space: KITTI's numbers against loops over Shapely's polygons, which place answers, what a turn costs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shapely.geometry import Polygon

from cnnjax import ops
from cnnjax.data import solids
from cnnjax.models._pyramids import spread
from cnnjax.tasks import boxes3d, detection, detection_3d
from cnnjax.tasks._assigning import truth_of
from cnnjax.tasks._solids import answers_of_solids, parts_of, solid_losses

SOURCE = solids(train=3, test=2, size=64, objects=3)
FACTS = SOURCE.facts
NAMES = FACTS.names
PLACES = spread((64, 64), (16, 16), 4)
corners_of, overlaps, compared = jax.jit(ops.box_corners), jax.jit(ops.quad_iou), jax.jit(boxes3d._compared)


def anywhere(draw, count):
    """Centres, sides, angles and heights of boxes."""
    low = draw.uniform(0, 3, count)
    sides = draw.uniform([6, 4], [20, 9], (count, 2))
    return draw.uniform(4, 60, (count, 2)), sides, draw.uniform(-4, 4, count), np.stack([low, low + 5], -1)


def scenes(seed, *, pictures=6, classes=3):
    """True boxes of a few pictures, and found ones near them or anywhere, turned round, or of another class."""
    draw = np.random.default_rng(seed)
    rows = {}
    for word, count in (("", 9), ("true_", 5)):
        parts = [anywhere(draw, count) for _ in range(pictures)]
        rows |= {f"{word}{i}": np.stack([part[i] for part in parts]) for i in range(4)}
        rows[f"{word}classes"] = draw.integers(0, classes - (seed % 3 == 0), (pictures, count))
        rows[f"{word}present"] = (np.arange(count) < draw.integers(0, count + 1, (pictures, 1))).astype(np.float32)
    near, which = draw.random((pictures, 9)) < 0.8, draw.integers(0, 5, (pictures, 9))
    each = np.arange(pictures)[:, None]
    rows["classes"] = np.where(near, rows["true_classes"][each, which], rows["classes"])
    for i, off in enumerate((0.8, 0.6, 0.1, 0.4)):
        there = rows[f"true_{i}"][each, which]
        some = draw.integers(0, 2, (pictures, *(1,) * (there.ndim - 1)))  # in others they are there exactly
        there = there + draw.normal(0, off, there.shape) * some
        rows[f"{i}"] = np.where(near.reshape(*near.shape, *(1,) * (there.ndim - 2)), there, rows[f"{i}"])
    rows["2"] += np.pi * (draw.random(near.shape) < 0.3)
    rows["scores"] = draw.integers(0, 9, near.shape) / 8 if seed % 2 else draw.random(near.shape)
    for word in ("", "true_"):
        corners = corners_of(*(np.float32(rows[f"{word}{i}"]) for i in range(3)))
        rows |= {f"{word}corners": np.array(corners), f"{word}heights": rows[f"{word}3"].astype(np.float32)}
    return rows


def ours(rows):
    """What the task makes of rows, which it gives by falling score."""
    order = np.argsort(-rows["scores"] * rows["present"], 1, kind="stable")
    each = np.arange(len(order))[:, None]
    found = {name: rows[name][each, order] for name in ("corners", "heights", "scores", "classes", "present")}
    batch = {name: rows[f"true_{name}"] for name in ("corners", "heights", "classes", "present")}
    batch |= {"ignored": rows["true_ignored"]} if "true_ignored" in rows else {}
    return boxes3d._summary(NAMES, {"objects": 0.0}, jax.tree.map(np.asarray, compared(found, batch)))


def theirs(rows, flat, enough):
    """(AP at 40 recalls, at 11, AOS, AOS of axes, turns) by class, as loops over polygons."""
    result = []
    for kind in range(len(NAMES)):
        positives, listed, turns = 0, [], []
        for i in range(len(rows["scores"])):
            mine = [n for n in range(5) if rows["true_present"][i, n] and rows["true_classes"][i, n] == kind]
            positives += len(mine)
            order = sorted(range(9), key=lambda d: -rows["scores"][i, d])
            for d in (d for d in order if rows["present"][i, d] and rows["classes"][i, d] == kind):
                best = max(mine, key=lambda n: overlap(rows, i, d, n, flat), default=None)
                hit = best is not None and overlap(rows, i, d, best, flat) >= enough
                turn = rows["2"][i, d] - rows["true_2"][i, best] if hit else 0.0
                listed.append((rows["scores"][i, d], hit, turn))
                if hit:
                    mine.remove(best)
                    turns.append(turn)
        listed.sort(key=lambda entry: -entry[0])
        hits = np.array([hit for _, hit, _ in listed], float)
        if not positives:
            result.append(None)
            continue
        right, several = np.cumsum(hits), np.arange(1, len(hits) + 1)
        angles = np.array([turn for *_, turn in listed])
        worths = [right, right, *(np.cumsum(hits * (1 + np.cos(n * angles)) / 2) for n in (1, 2))]
        grids = [range(1, 41), range(0, 41, 4), range(1, 41), range(1, 41)]  # in fortieths, so that none is rounded
        best = [
            np.mean([max((worth / several)[right * 40 >= r * positives], default=0.0) for r in grid])
            for worth, grid in zip(worths, grids, strict=True)
        ]
        result.append((*best, turns))
    return result


def overlap(rows, i, d, n, flat):
    one, other = Polygon(rows["corners"][i, d]), Polygon(rows["true_corners"][i, n])
    shared, (a0, a1), (b0, b1) = one.intersection(other).area, rows["heights"][i, d], rows["true_heights"][i, n]
    if flat:
        return shared / (one.area + other.area - shared)
    shared *= max(min(a1, b1) - max(a0, b0), 0)
    return shared / (one.area * (a1 - a0) + other.area * (b1 - b0) - shared)


@pytest.mark.parametrize("seed", range(12))
def test_average_precision_and_headings_are_those_of_a_loop_over_polygons(seed):
    rows = scenes(seed)
    found, compared = ours(rows), 0
    for flat, enough, digits in ((False, 0.5, 50), (False, 0.7, 70), (True, 0.5, 50), (True, 0.7, 70)):
        expected, bev = theirs(rows, flat, enough), "bev_" if flat else ""
        known = [each for each in expected if each]
        for name, each in zip(NAMES, expected, strict=True):
            assert (f"{bev}ap{digits}_{name}" in found) == bool(each)
            if each:
                assert found[f"{bev}ap{digits}_{name}"] == pytest.approx(each[0], abs=1e-6)
                compared += each[0] > 0
        assert found[f"{bev}ap{digits}"] == pytest.approx(np.mean([each[0] for each in known]), abs=1e-6)
        assert found[f"r11_{bev}ap{digits}"] == pytest.approx(np.mean([each[1] for each in known]), abs=1e-6)
        if not flat:
            assert found[f"aos{digits}"] == pytest.approx(np.mean([each[2] for each in known]), abs=1e-6)
            assert found[f"axis_aos{digits}"] == pytest.approx(np.mean([each[3] for each in known]), abs=1e-6)
        if not flat and digits == 50:
            turns = np.concatenate([each[4] for each in known])
            whole, half = (np.abs(np.angle(np.exp(1j * n * turns)) / n) for n in (1, 2))
            assert found["heading_error"] == pytest.approx(np.degrees(whole.mean()), abs=1e-2)
            assert found["axis_error"] == pytest.approx(np.degrees(half.mean()), abs=1e-2)
    assert compared >= 4, "something is found"


def test_eleven_recalls_begin_at_none_and_forty_do_not():
    """One of ten is found: the recalls 1/40 … 4/40 of forty, 0 and 0.1 of eleven."""
    rows = scenes(1, pictures=2)
    rows["true_present"][:], rows["present"][:] = 1, 0
    rows["true_classes"][:] = 0
    rows["present"][0, 0], rows["classes"][0, 0] = 1, 0
    for name in ("corners", "heights"):
        rows[name][0, 0] = rows[f"true_{name}"][0, 0]
    found = ours(rows)
    assert found["ap70"] == pytest.approx(4 / 40)
    assert found["r11_ap70"] == pytest.approx(2 / 11)
    assert found["precision"].shape == (3, 41)
    assert np.isnan(found["precision"][1:]).all()


def test_what_is_ignored_is_neither_to_be_found_nor_a_fault():
    """All true boxes are found, and four false ones with the best scores that lie in another."""
    rows = scenes(4)
    for word in ("corners", "heights"):
        rows[word][:, :5] = rows[f"true_{word}"]
    rows["classes"][:], rows["true_classes"][:], rows["present"][:], rows["true_present"][:] = 0, 0, 1, 1
    rows["scores"] = np.tile(np.float32([1, 2, 3, 4, 5, 6, 7, 8, 9]) / 9, (6, 1))
    rows["true_corners"][:, 0] = ops.box_corners(jnp.float32([32, 32]), jnp.float32([99, 99]), jnp.float32(0))
    rows["true_heights"][:, 0] = -9, 20
    assert ours(rows)["ap50"] < 0.7
    rows["true_ignored"] = np.tile(np.float32([1, 0, 0, 0, 0]), (6, 1))
    found = ours(rows)
    assert found["ap50"] == found["bev_ap70"] == 1
    rows["true_ignored"][:] = 1
    assert "ap50" not in ours(rows)


def perfect(batch, turned=0.0):
    """Outputs that say each row at a place of its own, and nothing elsewhere."""
    batch = jax.tree.map(np.asarray, batch)
    parts, there = jax.tree.map(np.asarray, jax.jit(parts_of)(batch["corners"])), batch["present"] > 0
    pictures, rows = there.shape
    cells = np.clip(parts.centres // 4, 0, 15).astype(int)
    near = np.where(there, cells[..., 0] * 16 + cells[..., 1], np.arange(rows))
    assert all(len(set(each)) == rows for each in near.tolist())

    def said(values, rest=1.0):
        result = np.full((pictures, len(PLACES), values.shape[-1]), rest, np.float32)
        result[np.arange(pictures)[:, None], near] = values
        return jnp.asarray(result)

    turn = np.float32([[np.cos(turned), np.sin(turned)], [-np.sin(turned), np.cos(turned)]])
    hot = np.eye(len(NAMES))[batch["classes"]] * there[..., None] > 0
    return {
        "main": said(np.where(hot, 8.0, -12.0), -12.0),
        "centres": said(parts.centres),
        "sides": said(np.where(there[..., None], parts.sides, 1.0)),
        "headings": said(parts.headings @ turn.T * 0.7),
        "heights": said(batch["heights"]),
        "places": jnp.broadcast_to(PLACES, (pictures, *PLACES.shape)),
    }


@pytest.fixture(scope="module")
def batch():
    fields = {name: jnp.asarray(value) for name, value in SOURCE.train.arrays.items()}
    return fields | {"valid": jnp.ones(len(fields["image"]))}


@jax.jit
def measured(outputs, batch):
    task = detection_3d(FACTS)
    return task.tally(outputs, batch), task.rows(outputs, batch)


def scores(outputs, batch):
    task = detection_3d(FACTS)
    sums, rows = measured(outputs, batch)
    return task.summarize(jax.tree.map(float, sums), jax.tree.map(np.asarray, rows))


def test_a_perfect_predictor_scores_1_and_one_that_looks_backwards_fails_in_headings_alone(batch):
    best, back = scores(perfect(batch), batch), scores(perfect(batch, np.pi), batch)
    names = [name for name in best if "ap" in name or "aos" in name]
    assert len(names) >= 12
    assert all(best[name] == pytest.approx(1) for name in names)
    assert best["heading_error"] == pytest.approx(0, abs=0.1)
    assert best["objects"] == float(batch["present"].sum())
    assert all(back[name] == pytest.approx(0 if name in ("aos50", "aos70") else 1, abs=1e-6) for name in names)
    assert back["heading_error"] == pytest.approx(180, abs=0.1)
    assert back["axis_error"] == pytest.approx(0, abs=0.1)


def test_what_is_predicted_are_the_labels_front_first(batch):
    words = jax.tree.map(np.asarray, jax.jit(detection_3d(FACTS).predict)(perfect(batch), batch))
    assert set(words) == {"corners", "heights", "classes", "scores", "present"}
    for i, there in enumerate(np.asarray(batch["present"]) > 0):
        assert words["present"][i].sum() == there.sum()
        for row in np.flatnonzero(there):
            corners, heights, kind = (np.asarray(batch[word])[i, row] for word in ("corners", "heights", "classes"))
            near = int(np.abs(words["corners"][i].mean(1) - corners.mean(0)).sum(-1).argmin())
            np.testing.assert_allclose(words["corners"][i, near], corners, atol=1e-2)
            np.testing.assert_allclose(words["heights"][i, near], heights, atol=1e-3)
            assert words["classes"][i, near] == kind


def one_row(angle=np.pi / 4, ignored=0.0):
    corners = ops.box_corners(jnp.float32([32, 32]), jnp.float32([36, 8]), jnp.float32(angle))
    fields = {"corners": corners[None, None], "heights": jnp.float32([[[0, 6]]]), "classes": jnp.int32([[1]])}
    return fields | {"present": jnp.ones((1, 1)), "ignored": jnp.float32([[ignored]]), "valid": jnp.ones(1)}


def spoken(angle, height=(0.0, 6.0), side=(36.0, 8.0)):
    """Outputs that say the same about every place but where it is."""
    same = {"sides": side, "headings": (np.sin(angle), np.cos(angle)), "heights": height}
    found = {name: jnp.broadcast_to(jnp.float32(value), (1, len(PLACES), 2)) for name, value in same.items()}
    return found | {"main": jnp.zeros((1, len(PLACES), 3)), "centres": PLACES[None, :, :2], "places": PLACES[None]}


@jax.jit
def answering(outputs, fields):
    truth = truth_of(fields, "corners")
    return truth, answers_of_solids(outputs, truth, fields["heights"])


def test_the_places_that_answer_lie_in_the_turned_box_and_learn_how_well_theirs_fits():
    truth, answers = answering(spoken(np.pi / 4), one_row())
    mine = np.asarray(answers.share[0]) > 0
    off = np.asarray(PLACES)[mine, :2] - 32
    assert 1 <= mine.sum() <= 10
    assert (np.abs(off @ [0.5**0.5, -(0.5**0.5)]) <= 4).all(), "across it"
    best = int(answers.share[0].argmax())
    np.testing.assert_array_equal(np.abs(np.asarray(PLACES)[best, :2] - 32), [2, 2])
    there = corners_of(np.asarray(PLACES)[best, :2], np.float32([36, 8]), np.float32(np.pi / 4))
    exact = float(overlaps(there[None], truth.boxes[0])[0, 0])
    assert float(answers.share[0, best]) == pytest.approx(exact, abs=1e-5)
    _, lower = answering(spoken(np.pi / 4, (3.0, 9.0)), one_row())
    assert float(lower.share[0].max()) < 0.5 * exact, "heights count"


def lost(outputs, fields):
    truth, answers = answering(outputs, fields)
    fixed = jax.tree.map(jax.lax.stop_gradient, answers)
    options = {"gamma": 0.0, "overlap": 5.0, "heading": 2.0, "height": 2.0}
    return jax.jit(lambda outputs: solid_losses(outputs, truth, fields["heights"], fixed, **options))


def test_a_wrong_turn_changes_headings_and_neither_sides_nor_centres():
    fields, right = one_row(), spoken(np.pi / 4)
    measure = lost(right, fields)
    value = lambda outputs: measure(outputs)[0][0]  # noqa: E731
    back = {**right, "headings": -right["headings"]}
    assert value(back) > value(right) + 1
    slopes, turned = (jax.jit(jax.grad(value))(outputs) for outputs in (right, back))
    for name in ("sides", "centres"):
        np.testing.assert_allclose(turned[name], slopes[name], atol=1e-5)
    answered = np.abs(turned["headings"]).sum(-1)[0] > 0
    assert answered.sum() <= 10


def test_a_row_to_ignore_costs_nothing_whatever_is_said_there():
    fields = one_row(ignored=1.0)
    quiet = {**spoken(np.pi / 4), "main": jnp.full((1, len(PLACES), 3), -9.0)}
    inside = np.abs((np.asarray(PLACES)[:, :2] - 32) @ [0.5**0.5, -(0.5**0.5)]) <= 4
    inside &= np.abs((np.asarray(PLACES)[:, :2] - 32) @ [0.5**0.5, 0.5**0.5]) <= 18
    loud = {**quiet, "main": jnp.where(inside[None, :, None], 4.0, quiet["main"])}
    calm, weights = lost(quiet, fields)(quiet)
    assert float(lost(loud, fields)(loud)[0][0]) == pytest.approx(float(calm[0]), abs=0.1)
    assert float(weights[0]) == 0


def test_parts_of_corners_are_those_they_were_made_of_and_of_skewed_ones_finite():
    draw = np.random.default_rng(0)
    centre, sides, angle, _ = (jnp.float32(x) for x in anywhere(draw, 20))
    parts = jax.jit(parts_of)(corners_of(centre, sides, angle))
    np.testing.assert_allclose(parts.centres, centre, atol=1e-4)
    np.testing.assert_allclose(parts.sides, sides, rtol=1e-4)
    np.testing.assert_allclose(parts.headings, np.stack([np.sin(angle), np.cos(angle)], -1), atol=1e-4)
    for leaf in jax.jit(parts_of)(jnp.zeros((1, 4, 2))):
        assert np.isfinite(leaf).all()


def test_data_without_solids_and_nets_without_turns_are_refused(batch):
    bare = dataclasses.replace(FACTS, fields={"image": FACTS.fields["image"], "boxes": ((3, 4), "float32")})
    with pytest.raises(ValueError, match=r"'detection_3d', which needs corners, heights, classes .* image, boxes"):
        detection_3d(bare)
    task, plain = detection_3d(FACTS), {"main": jnp.zeros((3, 5, 3)), "boxes": jnp.zeros((3, 5, 4))}
    with pytest.raises(ValueError, match=r"a dict of main, boxes; detection_3d needs main .* model\.turned=true"):
        task.predict(plain, batch)
    boxed = dataclasses.replace(FACTS, fields={**FACTS.fields, "boxes": ((3, 4), "float32")})
    with pytest.raises(ValueError, match=r"detection needs main .* detector with model\.turned=false"):
        detection(boxed).predict(perfect(batch), batch)
    with pytest.raises(ValueError, match=r"task\.iou is 2"):
        detection_3d(FACTS, iou=2.0)


@pytest.mark.proofs
def test_solids_are_found_in_scenes_never_seen(tmp_path, train_apart):
    measured = train_apart("configs/solids.py", tmp_path).measure("test")
    assert measured["ap70"] >= 0.80
