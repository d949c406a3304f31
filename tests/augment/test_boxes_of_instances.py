"""A box that was turned lies about the pixels of its instance again."""

import jax
import numpy as np
import pytest

from cnnjax.augment import compose
from tests.augment.scenes import facts

SIZE = (48, 60)


def scene():
    """Three ellipses, the second at the border, a row that only pads, and one without pixels."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    instances, boxes = np.zeros(SIZE, np.uint8), np.zeros((5, 4), np.float32)
    for row, (cy, cx, ry, rx) in enumerate([(20, 25, 12, 4), (40, 55, 9, 5), (10, 45, 3, 8)]):
        inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1
        instances[inside] = row + 1
        boxes[row] = (y[inside].min(), x[inside].min(), y[inside].max() + 1, x[inside].max() + 1)
    instances[0, :5] = 255
    boxes[4] = (30, 5, 44, 15)
    return {
        "image": np.repeat((instances > 0).astype(np.uint8)[..., None] * 255, 3, -1)[None],
        "instances": instances[None],
        "boxes": boxes[None],
        "present": np.float32([[1, 1, 1, 0, 1]]),
    }


def moved(name, fields, keys, **options):
    """What becomes of the boxes, rows and instances of a scene, for several keys."""
    run = jax.jit(compose(facts((*SIZE, 3)), (name,), {name: options}))
    return [jax.tree.map(np.asarray, run(jax.random.key(key), fields)) for key in range(keys)]


@pytest.mark.parametrize(("name", "options"), [("rotate", {"degrees": 30.0}), ("elastic", {"pixels": 6.0})])
def test_boxes_that_were_turned_or_bent_fit_the_pixels_of_their_instances(name, options):
    fields, smaller = scene(), 0
    alone = {word: value for word, value in fields.items() if word != "instances"}
    for out, loose in zip(moved(name, fields, 4, **options), moved(name, alone, 4, **options), strict=True):
        for row in np.flatnonzero(out["present"][0, :3]):
            y, x = np.nonzero(out["instances"][0] == row + 1)
            np.testing.assert_array_equal(out["boxes"][0, row], (y.min(), x.min(), y.max() + 1, x.max() + 1))
            sides = [np.diff(each["boxes"][0, row].reshape(2, 2), axis=0) for each in (out, loose)]
            smaller += np.prod(sides[0]) < np.prod(sides[1])
        np.testing.assert_array_equal(out["boxes"][0, 3:], loose["boxes"][0, 3:])
        np.testing.assert_array_equal(out["present"][0, 3:], loose["present"][0, 3:])
    assert smaller >= 6


def test_what_a_border_repeats_of_an_instance_is_outside_its_box():
    fields = scene()
    plain, repeated = (moved("rotate", fields, 1, degrees=40.0, border=border) for border in ("constant", "reflect"))
    assert (plain[0]["instances"] == 2).sum() < (repeated[0]["instances"] == 2).sum()
    np.testing.assert_array_equal(plain[0]["boxes"], repeated[0]["boxes"])


def test_a_row_whose_pixels_have_all_left_is_gone_though_its_box_has_not():
    fields = scene()
    fields["instances"] = np.zeros_like(fields["instances"])
    fields["instances"][0, 0, 0] = 1
    fields["boxes"][0, 0] = (0, 0, 40, 50)
    (out,) = moved("rotate", fields, 1, degrees=45.0)
    assert out["present"][0, :2].tolist() == [0, 1], "the other has never had any"
