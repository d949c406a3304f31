"""COCO's polygons and run lengths become the pixels that its own tool makes of them."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from cnnjax.data._rasters import mask_of, polygon_mask, run_mask, runs_of

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def theirs(shape, size):
    """The mask that pycocotools makes of a segmentation, as its `annToMask` does."""
    if isinstance(shape, list):
        return coco.decode(coco.merge(coco.frPyObjects(shape, *size))).astype(bool)
    return coco.decode(coco.frPyObjects(shape, *size) if isinstance(shape["counts"], list) else shape).astype(bool)


@given(sizes, st.data())
@pytest.mark.proofs
def test_polygons_are_filled_pixel_for_pixel_as_pycocotools_fills_them(size, data):
    """Of whole, halved and other numbers, crossing themselves, beyond the picture, with corners that repeat."""
    for _ in range(20):
        seed = data.draw(st.integers(0, 2**32))
        rng = np.random.default_rng(seed)
        corners = rng.uniform(-0.3, 1.3, (rng.integers(3, 12), 2)) * np.array(size[::-1])
        step = rng.choice([0, 1, 2, 5])
        corners = np.round(corners * step) / step if step else corners
        if rng.random() < 0.3:
            corners = np.repeat(corners, 2, 0)
        np.testing.assert_array_equal(polygon_mask(corners.ravel(), size), theirs([corners.ravel().tolist()], size))


def test_parts_of_a_segmentation_are_joined_and_a_circle_has_its_area():
    angle = np.linspace(0, 2 * np.pi, 100)[:-1]
    circle = np.stack([20 + 12 * np.cos(angle), 15.5 + 12 * np.sin(angle)], -1).ravel()
    parts = [circle.tolist(), [1.0, 1.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0]]
    found = mask_of(parts, (32, 48))
    np.testing.assert_array_equal(found, theirs(parts, (32, 48)))
    assert found.sum() == pytest.approx(np.pi * 144 + 16, rel=0.02)


@given(sizes, st.integers(0, 2**32), st.floats(0, 1))
def test_both_kinds_of_run_lengths_are_read_as_pycocotools_reads_them(size, seed, share):
    mask = np.random.default_rng(seed).random(size) < share
    packed = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": list(size), "counts": packed["counts"].decode()}
    np.testing.assert_array_equal(mask_of(text, size), mask)
    plain = {"size": list(size), "counts": runs_of(text["counts"]).tolist()}
    np.testing.assert_array_equal(mask_of(plain, size), mask)
    np.testing.assert_array_equal(theirs(plain, size), mask)


def test_long_runs_take_several_digits():
    mask = np.zeros((700, 900), np.uint8, order="F")
    mask[13:690, 5:880] = 1
    mask[100:300, 200:600] = 0
    text = coco.encode(mask)["counts"].decode()
    np.testing.assert_array_equal(run_mask(runs_of(text), mask.shape), mask)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ([[1, 1, 4, 4]], "a polygon that is not three or more pairs of numbers"),
        ([[1, 1, 4, 4, 2]], "a polygon that is not three or more pairs of numbers"),
        *(
            ([part], "a polygon that is not three or more pairs of numbers")
            for part in (5, None, {}, [[1, 1, 4, 4, 2, 2]], ["1"] * 6, [None] * 6, [[1, 2], [3]], "1" * 6)
        ),
        ([1, 1, 4, 4, 2, 2], "a polygon that is not three or more pairs of numbers"),
        (5, "the segmentation 5, which is neither polygons nor run lengths"),
        ("1 1 4 4", "the segmentation '1 1 4 4', which is neither polygons nor run lengths"),
        *(
            ({"size": said, "counts": [24]}, f"the size {said}, which is no height and width")
            for said in (4, None, {}, (4, 6, 1))
        ),
        ({"size": ["4", "6"], "counts": [24]}, "a mask of '4'×'6' pixels"),
        *(
            ({"size": [4, 6], "counts": counts}, "run lengths that are not whole numbers which sum to 4×6 pixels")
            for counts in (24, None, {}, [[24], [1, 2]], ["24"], [24.0])
        ),
        ([[1, 1, 4, 4, 2, float("nan")]], "a polygon that is not three or more pairs of numbers"),
        ({"size": [4, 6], "counts": [3, 4]}, "run lengths that are not whole numbers which sum to 4×6 pixels"),
        ({"size": [4, 6], "counts": [30, -6]}, "run lengths that are not whole numbers which sum to 4×6 pixels"),
        ({"size": [6, 4], "counts": [24]}, "a mask of 6×4 pixels"),
        ({"size": [4, 6], "counts": "l"}, "a text that holds no run lengths"),
        ({"size": [4, 6], "counts": ""}, "a text that holds no run lengths"),
        ({"size": [4, 6], "counts": "é"}, "a text that holds no run lengths"),
    ],
)
def test_what_is_no_mask_is_refused(shape, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        mask_of(shape, (4, 6))
