"""A label is moved, or refused: what becomes of each kind of word, beside what the battery asks of every entry."""

import jax
import numpy as np
import pytest

from cnnjax.augment import Move, compose
from cnnjax.fields import Facts
from tests.augment.scenes import CLASSES, applied, batch, facts, floats, marked

ALWAYS = {"flip": {"probability": 1.0}}
SQUARE = np.array([[2, 3], [2, 9], [6, 9], [6, 3]], np.float32)  # the front is its upper side
MIRROR = "of which facts.extra['mirror'] must give the order in a mirror, (0, 1, …) if none changes"


def refused(names, fields, about, options=ALWAYS):
    with pytest.raises(ValueError, match="augment") as error:
        jax.eval_shape(compose(about, names, options), jax.random.key(0), fields)
    return str(error.value).partition("\n")[0]


def turned_over(key, facts, size, strength):
    """A user's own move, which does not say that it keeps the plane upright."""
    return Move(jax.numpy.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]))


@pytest.mark.parametrize("entry", ["flip", f"{__name__}:turned_over"])
def test_a_mirror_wants_the_order_of_points_and_whatever_may_be_one_too(entry):
    name = entry.rpartition(":")[2]
    message = refused((entry,), marked(), facts((41, 41, 1), extra={}))
    assert message == f"augment.{name}: the batch has points, 1 {MIRROR}; leave {name} out of augment.train"
    assert "1 of which" in refused((entry,), marked(), facts((41, 41, 1), extra={"mirror": (1, 0)}))
    out = applied((entry,), marked(), ALWAYS, about=facts((41, 41, 1)), words=("points",))
    assert (out["points"] != marked()["points"]).any()
    unordered = compose(facts((41, 41, 1), extra={}), ("rotate", "shear", "zoom", "crop"), {})
    jax.eval_shape(unordered, jax.random.key(0), marked())


def test_a_transposed_picture_exchanges_left_and_right_as_a_mirror_does():
    fields = {"image": np.zeros((1, 9, 9, 1), np.uint8), "points": np.array([[[1, 5], [2, 7]]], np.float32)}
    out = applied((f"{__name__}:turned_over",), fields, about=facts((9, 9, 1), extra={"mirror": (1, 0)}))
    np.testing.assert_allclose(out["points"][0], [[7, 2], [5, 1]], atol=1e-5)


def test_the_front_of_a_turned_box_stays_first_and_a_mirror_keeps_the_way_round():
    fields = {"image": np.zeros((1, 12, 20, 1), np.uint8), "corners": SQUARE[None, None]}
    out = applied(("flip",), fields, ALWAYS)
    np.testing.assert_allclose(out["corners"][0, 0], [[2, 11], [2, 17], [6, 17], [6, 11]])

    for a, b, c, _ in (out["corners"][0, 0], SQUARE):
        assert np.linalg.det(np.stack([b - a, c - b])) < 0


def test_a_turned_box_is_gone_where_less_than_a_tenth_of_it_is_seen_and_what_pads_stays():
    corners = np.stack([SQUARE, SQUARE + [0, 9.6], SQUARE + [0, 7], 0 * SQUARE])[None]
    present = np.array([[1, 1, 1, 0]], np.float32)
    fields = {"image": np.zeros((1, 20, 20, 1), np.uint8), "corners": corners.astype("f4"), "present": present}
    out = applied(("center_crop",), fields, {"center_crop": {"side": 14}}, about=facts((20, 20, 1)))
    np.testing.assert_array_equal(out["corners"][0, 0], SQUARE - 3)
    np.testing.assert_array_equal(out["corners"][0, 3], 0 * SQUARE)
    np.testing.assert_array_equal(out["present"][0], [1, 1, 1, 0])
    far = fields | {"corners": np.roll(corners + [0, 4.8], 0).astype("f4")}
    out = applied(("center_crop",), far, {"center_crop": {"side": 14}}, about=facts((20, 20, 1)))
    np.testing.assert_array_equal(out["present"][0], [1, 0, 1, 0])


def test_what_stands_in_a_video_moves_with_every_frame():
    marks = {word: value for word, value in marked(rows=4).items() if word != "instances"}
    video, segments = (np.repeat(marks[word][:, None], 3, 1) for word in ("image", "segments"))
    fields = {**marks, "video": video, "segments": segments}
    del fields["image"]
    words = ("segments", "boxes")
    for name in ("rotate", "crop"):
        alone = applied((name,), marks, words=("image", *words))
        out = applied((name,), fields, about=facts((41, 41, 1)), words=("video", *words))
        for frame in range(3):
            np.testing.assert_allclose(out["video"][:, frame], alone["image"], atol=1e-6)
            np.testing.assert_array_equal(out["segments"][:, frame], alone["segments"])
        np.testing.assert_allclose(out["boxes"], alone["boxes"], atol=1e-5)
    boxes = np.repeat(marks["boxes"][:, None], 3, 1)
    message = refused(("rotate",), {**fields, "boxes": boxes}, facts((41, 41, 1)))
    assert message.startswith("augment.rotate: the batch has boxes, which it can't move: boxes has shape (3, 1, 4)")


def test_resize_scales_boxes_corners_and_points_of_pictures_and_videos():
    fields = {
        "video": np.zeros((1, 2, 10, 20, 1), np.uint8),
        "segments": np.repeat(np.arange(20, dtype=np.int32)[None, None, None], 10, 2).repeat(2, 1),
        "boxes": np.array([[[1, 2, 3, 4]]], np.float32),
        "corners": SQUARE[None, None],
        "points": np.array([[[0, 19]]], np.float32),
    }
    out = applied(("resize",), fields, {"resize": {"height": 20, "width": 10}}, about=facts((10, 20, 1)))
    assert (out["video"].shape, out["segments"].shape) == ((1, 2, 20, 10, 1), (1, 2, 20, 10))
    np.testing.assert_array_equal(out["boxes"][0, 0], [2, 1, 6, 2])
    np.testing.assert_array_equal(out["corners"][0, 0], SQUARE * [2, 0.5])
    np.testing.assert_array_equal(out["points"][0, 0], [0.5, 9.25])
    halved = {"video": fields["video"], "pixel_area": np.array([3], np.float32)}
    out = applied(("resize",), halved, {"resize": {"height": 5, "width": 20}}, about=facts((10, 20, 1)))
    assert out["pixel_area"].tolist() == [6]


def test_permuted_pixels_take_their_segments_along_and_refuse_what_has_a_place():
    fields = batch(shape=(6, 7, 3))
    fields["segments"] = fields["image"][..., 0].astype(np.int32)
    out = applied(("permute",), fields)
    np.testing.assert_array_equal(np.round(out["image"][..., 0] * 255), out["segments"])
    message = refused(("permute",), {**fields, "points": np.zeros((8, 1, 2), np.float32)}, facts((6, 7, 3)))
    assert message.startswith("augment.permute: the batch has points, which has no place among permuted pixels")


def test_a_label_agrees_with_the_target_it_was_mixed_into():
    out = applied(("mixup",), batch(rows=32), {"mixup": {"alpha": 1.0}}, words=("label", "target"))
    assert (out["label"] == out["target"].argmax(-1)).all()
    assert (out["label"] != batch(rows=32)["label"]).any()
    assert out["label"].dtype == np.int32


def series(**more):
    steps = np.tile(np.arange(20, dtype=np.float32)[:, None], (8, 1, 2))
    return {"series": steps, "segments": np.tile(np.arange(20, dtype=np.int32), (8, 1))} | more


def test_a_crop_in_time_takes_the_steps_of_segments_along():
    out = applied(("temporal_crop",), series(), {"temporal_crop": {"frames": 7}}, about=facts((20, 2)))
    np.testing.assert_array_equal(out["series"][..., 0], out["segments"])
    video = {"video": np.zeros((8, 9, 4, 4, 1), np.uint8) + np.arange(9, dtype=np.uint8)[:, None, None, None]}
    video["segments"] = video["video"][..., 0].astype(np.int32)
    out = applied(("temporal_crop",), video, {"temporal_crop": {"frames": 4}}, about=facts((4, 4, 1)))
    np.testing.assert_array_equal(np.round(out["video"][..., 0] * 255), out["segments"])
    assert len(np.unique(out["segments"][:, 0, 0, 0])) > 1


@pytest.mark.parametrize("border", ["constant", "edge", "wrap"])
def test_a_shift_in_time_takes_the_steps_of_segments_along(border):
    options = {"series_shift": {"border": border, "fill": 255.0}}
    out = applied(("series_shift",), series(), options, about=facts((20, 2)))
    np.testing.assert_array_equal(out["series"][..., 0], out["segments"])
    assert ((out["segments"] == 255).any()) == (border == "constant")


def test_a_forecast_keeps_the_unit_of_its_series_and_is_refused_by_what_moves_its_end():
    rng = np.random.default_rng(0)
    whole = rng.normal(3, 2, (8, 24, 2)).astype(np.float32)
    fields = {"series": whole[:, :20], "target": whole[:, 20:]}
    about = Facts("series", (20, 2), mean=(3.0, 2.0), std=(2.0, 0.5))
    out = applied(("series_scale",), fields, {"series_scale": {"factor": 3.0}}, about=about)
    ratio = out["series"] / fields["series"]
    np.testing.assert_allclose(out["target"] / fields["target"], ratio[:, :1].repeat(4, 1), rtol=1e-4)
    assert ratio.std() > 0.2
    # after `normalize` the factor acts about the mean; the target stays in the data's unit and follows
    out = applied(("normalize", "series_scale"), fields, {"series_scale": {"factor": 3.0}}, about=about)
    seen = (whole - [3.0, 2.0]) / [2.0, 0.5]
    ratio = (out["series"] / seen[:, :20]).mean((1, 2), keepdims=True)
    np.testing.assert_allclose((out["target"] - [3.0, 2.0]) / [2.0, 0.5], seen[:, 20:] * ratio, rtol=1e-3, atol=1e-3)
    for name in ("series_shift", "temporal_crop"):
        message = refused((name,), fields, about, {"temporal_crop": {"frames": 6}})
        assert message.startswith(f"augment.{name}: the batch has target, which it can't move along time")
    for name in ("series_mask", "noise", "mixup"):
        assert jax.eval_shape(compose(about, (name,), {}), jax.random.key(0), fields)["target"].shape == (8, 4, 2)


def test_a_distribution_stays_as_it_is_in_time():
    fields = series(target=np.eye(CLASSES, dtype=np.float32)[np.arange(8) % CLASSES])
    for name in ("series_scale", "series_shift", "temporal_crop"):
        out = applied((name,), fields, {"temporal_crop": {"frames": 6}}, about=facts((20, 2)), words=("target",))
        np.testing.assert_array_equal(out["target"], fields["target"])


def test_what_is_hidden_is_still_there():
    fields = marked()
    for name in ("erase", "cutout"):
        out = applied((name,), fields, {"erase": {"probability": 1.0}, "cutout": {"side": 40.0}})
        assert all(np.array_equal(out[word], fields[word]) for word in fields if word != "image")
        assert not np.array_equal(out["image"], floats(fields["image"]))
