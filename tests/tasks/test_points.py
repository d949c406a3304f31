"""Points: PCK, PCKh, PCP and OKS against plain loops and COCO's own tool, stages, maps, and what is refused."""

import contextlib
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cnnjax.data import from_arrays
from cnnjax.ops import gaussian_maps
from cnnjax.tasks import pose

NAMES = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "head_top", "neck")
SIDE = {"left": "right", "right": "left"}
SKELETON = ((0, 1), (0, 2), (4, 5))
PERSON = ("nose", *(f"{side}_{part}" for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
                    for side in SIDE))  # fmt: skip


def facts_of(names=NAMES, size=(48, 64), count=0, **extra):
    joints = count or len(names)
    fields = {
        "image": np.zeros((2, *size, 1), np.uint8),
        "points": np.ones((2, joints, 2), np.float32),
        "visible": np.ones((2, joints), np.float32),
    }
    extra = ({"point_names": names} if names else {}) | extra
    return from_arrays(fields, fields, extra=extra).facts


def scene(seed, joints=len(NAMES), count=40, size=(48, 64)):
    """A batch of points, some invisible, some far off, and the points that were found."""
    draw = np.random.default_rng(seed)
    truth = draw.uniform(0, np.array(size) - 1, (count, joints, 2)).astype(np.float32)
    found = (truth + draw.normal(0, 1, truth.shape) * draw.choice([0.3, 3, 12], (count, joints, 1))).astype(np.float32)
    batch = {
        "image": np.zeros((count, *size, 1), np.float32),
        "points": truth,
        "visible": (draw.random((count, joints)) < 0.8).astype(np.float32),
        "valid": (draw.random(count) < 0.9).astype(np.float32),
    }
    batch["visible"][0] = 0
    return batch, found


def shares(points, size=(48, 64)):
    """What a net gives that finds points (B, K, 2)."""
    return (points + 0.5) / np.float32(size)


def metrics(task, outputs, batch):
    return task.summarize(jax.tree.map(np.float64, jax.jit(task.tally)(outputs, batch)), {})


def by_loops(batch, found, length_of, limbs=SKELETON, head=(4, 5)):
    """The metrics of a scene, counted point by point; `length_of(points, visible)` is 0 where there is none."""
    counted = {name: [] for name in ("pck20", "pck05", "pckh50", "pcp", "pcp_loose", "pixels")}
    for truth, seen, guess in zip(batch["points"], batch["visible"] * batch["valid"][:, None], found, strict=True):
        apart, length = np.hypot(*(truth - guess).T), length_of(truth, seen)
        for k in np.flatnonzero(seen):
            counted["pixels"].append(apart[k])
            if length > 0:
                counted["pck20"].append(apart[k] <= 0.2 * length)
                counted["pck05"].append(apart[k] <= 0.05 * length)
            if seen[list(head)].all():
                counted["pckh50"].append(apart[k] <= 0.5 * np.hypot(*(truth[head[0]] - truth[head[1]])))
        for a, b in limbs:
            if seen[a] and seen[b]:
                half = 0.5 * np.hypot(*(truth[a] - truth[b]))
                counted["pcp"].append(apart[a] <= half and apart[b] <= half)
                counted["pcp_loose"].append((apart[a] + apart[b]) / 2 <= half)
    return {name: np.mean(values) for name, values in counted.items()}


def torso(truth, seen):
    for a, b in ((0, 3), (1, 2)):
        if seen[a] and seen[b]:
            return np.hypot(*(truth[a] - truth[b]))
    return 0


def figure(truth, seen):
    return np.ptp(truth[seen > 0], axis=0).max() if seen.any() else 0


def shoulders(truth, seen):
    return np.hypot(*(truth[0] - truth[1])) if seen[0] and seen[1] else 0


@pytest.mark.parametrize(
    ("reference", "length_of"), [("auto", torso), ("figure", figure), (("left_shoulder", "right_shoulder"), shoulders)]
)
def test_pck_pckh_and_pcp_are_those_of_plain_loops(reference, length_of):
    task = pose(facts_of(skeleton=SKELETON), reference=reference)
    for seed in range(3):
        batch, found = scene(seed)
        measured = metrics(task, shares(found), batch)
        for name, value in by_loops(batch, found, length_of).items():
            assert measured[name] == pytest.approx(value, rel=1e-4), name
        assert measured["pck"].shape == (len(NAMES), 101)
        assert (np.diff(measured["pck"], axis=1) >= 0).all()
        there = batch["visible"] * batch["valid"][:, None]
        there = there * np.array([length_of(*pair) > 0 for pair in zip(batch["points"], there, strict=True)])[:, None]
        whole = np.average([measured[f"pck20_{name}"] for name in NAMES], weights=there.sum(0))
        assert whole == pytest.approx(measured["pck20"])


@pytest.mark.parametrize("names", [PERSON, tuple(f"point {n}" for n in range(5)), NAMES])
def test_oks_is_that_of_cocos_own_tool(names):
    task = pose(facts_of(names, skeleton=()))
    coco = np.array([0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
                     0.087, 0.087, 0.089, 0.089])  # fmt: skip
    for seed in range(5):
        batch, found = scene(seed, joints=len(names))
        batch["visible"][1, :] = np.arange(len(names)) == 2  # a single point: a box without area
        batch["visible"][:, 2] = np.maximum(batch["visible"][:, 2], batch["visible"].sum(1) == 0)
        batch["visible"][3] = 0
        wanted = _by_coco(batch, found, coco if names == PERSON else np.full(len(names), 0.089))
        assert metrics(task, shares(found), batch)["oks"] == pytest.approx(wanted, abs=1e-5)


def _by_coco(batch, found, sigmas):
    """The mean of what COCO's evaluation computes for pairs of truth and prediction in the same picture."""
    truths, guesses = [], []
    for number, (truth, seen, guess) in enumerate(zip(batch["points"], batch["visible"], found, strict=True), 1):
        if not batch["valid"][number - 1] or not seen.any():
            continue
        low, high = truth[seen > 0].min(0).astype(float), truth[seen > 0].max(0).astype(float)
        flat = np.concatenate([truth[:, ::-1], 2 * seen[:, None]], 1).ravel().tolist()
        box = [low[1], low[0], high[1] - low[1], high[0] - low[0]]
        own = {"image_id": number, "category_id": 1, "id": number}
        truths.append(own | {"keypoints": flat, "num_keypoints": int(seen.sum()), "area": float(np.prod(high - low)),
                             "bbox": box, "iscrowd": 0})  # fmt: skip
        ones = np.concatenate([guess[:, ::-1], np.ones((len(guess), 1))], 1).ravel().tolist()
        guesses.append(own | {"keypoints": ones, "score": 0.5})
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {"images": [{"id": truth["id"]} for truth in truths], "categories": [{"id": 1}],
                         "annotations": truths}  # fmt: skip
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(guesses), "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas
        evaluation._prepare()
    return np.mean([evaluation.computeOks(truth["id"], 1)[0, 0] for truth in truths])


def test_every_stage_is_trained_and_measured_by_itself():
    task, (batch, found) = pose(facts_of(skeleton=SKELETON)), scene(0)
    batch["valid"][:] = 1
    last, first = shares(batch["points"]), shares(found)
    measured = metrics(task, {"main": last, "stage1": first}, batch)
    alone = metrics(task, first, batch)
    assert measured["pck20"] == 1
    assert measured["oks"] == pytest.approx(1)
    for name in ("pck20", "pck05", "pckh50", "pcp", "pcp_loose", "oks", "pixels"):
        assert measured[f"{name}_stage1"] == alone[name]
    np.testing.assert_array_equal(measured["pck_stage1"], alone["pck"])

    def loss(outputs):
        net = lambda params, batch, key: (outputs, {})  # noqa: E731
        numerators, weights, _ = task.loss(net, {}, batch, None)
        np.testing.assert_array_equal(weights, batch["visible"].sum(-1))
        return float(numerators.sum())

    assert loss({"main": last, "stage1": first}) == pytest.approx(loss(last) + loss(first))
    assert loss(last) == pytest.approx(0, abs=1e-4)


def test_heat_maps_predict_points_between_their_cells_how_sure_they_are_and_what_is_not_to_be_seen():
    task, (batch, _) = pose(facts_of(), sigma=1.2), scene(1)
    cells = (batch["points"] + 0.5) / 4 - 0.5
    sharp = np.log(jax.jit(gaussian_maps, static_argnums=1)(cells, (12, 16), sigma=1.2) + 1e-9)
    logits = np.where(batch["visible"][:, None, None] > 0, sharp, np.float32(0))
    words = jax.jit(task.predict)(logits, batch)
    seen = batch["visible"] > 0
    assert np.abs(words["points"] - batch["points"])[seen].max() < 0.05
    np.testing.assert_array_equal(words["visible"] > 0, seen)
    assert (words["scores"][seen] > 0.95).all()
    assert (words["scores"][~seen] < 0.3).all()
    assert metrics(task, logits, batch)["pck20"] == 1


def test_what_a_regression_puts_outside_the_picture_is_not_visible_and_invisible_points_teach_nothing():
    task, (batch, found) = pose(facts_of()), scene(2)
    found[:, 0] = [-9, 3]
    words = jax.jit(task.predict)(shares(found), batch)
    assert set(words) == {"points", "visible"}
    np.testing.assert_allclose(words["points"], found, atol=1e-4)
    inside = ((found >= -0.5) & (found <= [47.5, 63.5])).all(-1)
    np.testing.assert_array_equal(words["visible"] > 0, inside)
    moved = {**batch, "points": np.where(batch["visible"][..., None] > 0, batch["points"], 7.0)}
    before, after = (jax.jit(task.tally)(shares(found), each) for each in (batch, moved))
    for name in ("pck", "oks", "pixels", "pcp"):
        np.testing.assert_array_equal(before["main"][name], after["main"][name])


def test_without_names_the_length_is_the_figures_and_what_needs_names_is_left_out():
    task, (batch, found) = pose(facts_of(names=(), count=6)), scene(3)
    measured = metrics(task, shares(found), batch)
    assert measured["pck20"] == pytest.approx(by_loops(batch, found, figure)["pck20"])
    assert not {"pckh50", "pcp", "pcp_loose"} & set(measured)
    assert "pck20_5" in measured


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"reference": ("left_sholder", "neck")}, "task.reference is 'left_sholder'; nearest: left_shoulder"),
        ({"reference": ("neck", "neck")}, r"task.reference is \('neck', 'neck'\); a length is that between two"),
        ({"reference": "torso"}, "task.reference is 'torso'"),
        ({"sigma": 0.0}, r"task.sigma is 0.0; it must be > 0"),
        ({"criterion": "squred"}, "task.criterion is 'squred'; .*squared"),
    ],
)
def test_options_that_can_not_be_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        pose(facts_of(), **options)


def test_data_without_points_and_nets_of_another_form_are_refused_in_words():
    fields = {"image": np.zeros((2, 8, 8, 1), np.uint8), "label": np.array([0, 1])}
    with pytest.raises(ValueError, match=r"task\.name is 'pose', which needs points; the data has image, label$"):
        pose(from_arrays(fields, fields).facts)
    task, (batch, _) = pose(facts_of()), scene(0)
    for shape in ((40, 6), (40, 6, 3), (40, 12, 16, 5)):
        with pytest.raises(ValueError, match=r"the net's outputs are .*; pose needs points \(B, 6, 2\), as deeppose"):
            task.predict(jnp.zeros(shape), batch)


@pytest.mark.proofs
def test_heat_maps_find_the_joints_of_figures_they_have_not_seen(tmp_path, train_apart):
    measured = train_apart("configs/figures.py", tmp_path, "--config.train.steps=2000").measure("test")
    assert measured["pck20"] >= 0.95


@pytest.mark.proofs
def test_each_stage_of_a_cascade_finds_more_joints_than_the_one_before(tmp_path, train_apart):
    measured = train_apart("configs/figures.py:deeppose", tmp_path, "--config.train.steps=1500").measure("test")
    for name in ("pck20", "pck05", "oks"):
        assert measured[f"{name}_stage1"] < measured[f"{name}_stage2"] < measured[name]
    assert measured["pck20"] >= 0.85
