"""Words carried by an affine map in NumPy are those that the same move of augmentation makes of them in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cnnjax.augment import Move, compose
from cnnjax.carrying import carried, nowhere, placed, plane_sizes
from cnnjax.fields import KINDS, WORDS, Facts

SIZE, INTO = (24, 30), (20, 26)
MOVES = {  # none reads near the border of two pixels, where the last bit would decide
    "as it is": ((1, 0, 0), (0, 1, 0)),
    "cut": ((1, 0, 3), (0, 1, 5)),
    "shrunk": ((1.2337, 0, 0.1304), (0, 1.1337, 0.1282)),
    "mirrored": ((1, 0, 2), (0, -1, 27)),
    "turned": ((0.7986, 0.6018, -2.2201), (-0.6018, 0.7986, 9.1799)),
    "turned in a mirror": ((0.7986, -0.6018, 8.3799), (-0.6018, -0.7986, 33.1799)),
}


def moved(key, facts, size, strength, *, move: str = "cut") -> Move:
    """One of the moves above, black and of no class outside."""
    matrix = jnp.array([*MOVES[move], (0, 0, 1)], float)
    return Move(matrix, size=INTO, border="constant", straight=not move.startswith("turned"))


def words():
    """Four examples of all words that have a place, some of them near the border, and some that only pad."""
    rng = np.random.default_rng(0)
    low = rng.uniform(-0.4, 16, (4, 5, 2))
    boxes = np.concatenate([low, np.minimum(low + rng.uniform(2, 9, low.shape), SIZE)], -1).astype(np.float32)
    angle = rng.uniform(0, 6, (4, 5, 1, 1))
    square = np.array([[-1, -1.5], [-1, 1.5], [1, 1.5], [1, -1.5]])
    turned = np.concatenate([np.cos(angle), np.sin(angle)], -1), np.concatenate([-np.sin(angle), np.cos(angle)], -1)
    corners = rng.uniform(0, SIZE, (4, 5, 1, 2)) + square[:, :1] * 3 * turned[0] + square[:, 1:] * 3 * turned[1]
    segments = rng.integers(0, 5, (4, *SIZE)).astype(np.int32)
    return {
        "segments": segments,
        "instances": (segments % 3).astype(np.uint8),
        "masks": (segments[:, None] == np.arange(5)[:, None, None]).astype(np.float32),
        "boxes": boxes,
        "corners": corners.astype(np.float32),
        "present": np.float32([[1, 1, 1, 1, 0]] * 4),
        "points": rng.uniform(0, SIZE, (4, 3, 2)).astype(np.float32),
        "visible": np.float32([[1, 0, 1]] * 4),
        "classes": np.zeros((4, 5), np.int32),
        "areas": np.full((4, 5), 7, np.float32),
        "pixel_area": np.float32([1, 2, 0.5, 1]),
    }


@pytest.mark.parametrize("move", MOVES)
def test_what_is_carried_is_what_the_same_move_of_augmentation_makes_of_it(move):
    given, order = words(), (1, 0, 2)
    if move.startswith("turned"):
        del given["instances"]  # about whose pixels augmentation would draw the boxes anew
    facts = Facts("image", (*SIZE, 1), mean=(0.0,), std=(1.0,), extra={"mirror": order})
    name = f"{__name__}:moved"
    fields = given | {"image": np.zeros((4, *SIZE, 1), np.float32)}
    wanted = jax.jit(compose(facts, (name,), {name: {"move": move}}))(jax.random.key(0), fields)
    found = carried(given, np.tile(np.float64(MOVES[move]), (4, 1, 1)), INTO, order)
    assert set(found) == set(given)
    for word, value in found.items():
        assert (value.shape, value.dtype) == (wanted[word].shape, wanted[word].dtype), word
        if np.issubdtype(value.dtype, np.floating) and word != "masks":
            np.testing.assert_allclose(value, wanted[word], atol=2e-5, err_msg=word)
        else:
            np.testing.assert_array_equal(value, wanted[word], err_msg=word)
    assert move == "as it is" or not found["present"].all()
    several = {"shrunk": 1.2337 * 1.1337}.get(move, 1)  # pixels that one covers; what a thing has of the file stays
    np.testing.assert_allclose(found["pixel_area"], given["pixel_area"] * several, rtol=1e-3)


def test_maps_are_read_as_pillow_reads_the_nearest_pixel_and_each_by_its_own_map():
    maps = np.float64([MOVES["turned"], MOVES["shrunk"], MOVES["turned in a mirror"], MOVES["cut"]])
    found = carried({name: words()[name] for name in ("instances", "segments")}, maps, INTO)
    for row, ((a, b, c), (d, e, f)) in enumerate(maps):  # Pillow has x before y, and counts from a pixel's corner
        centred = (e, d, f + 0.5 - (e + d) / 2, b, a, c + 0.5 - (a + b) / 2)
        image = Image.fromarray(words()["instances"][row])
        read = image.transform(INTO[::-1], Image.Transform.AFFINE, centred, Image.Resampling.NEAREST, fillcolor=255)
        np.testing.assert_array_equal(found["instances"][row], np.asarray(read))


def test_shares_of_classes_are_read_with_their_places_and_are_none_outside():
    shares = np.random.default_rng(0).dirichlet(np.ones(3), (4, *SIZE)).astype(np.float32)
    both = {"probabilities": shares, "segments": shares.argmax(-1)}
    maps = np.tile(np.float64(MOVES["turned"]), (4, 1, 1))
    found = carried(both, maps, INTO)
    seen = found["segments"] != 255
    assert 0 < seen.mean() < 1
    np.testing.assert_array_equal(found["probabilities"].argmax(-1)[seen], found["segments"][seen])
    assert not found["probabilities"][~seen].any()


def test_a_box_that_is_inside_out_stays_so_that_it_can_be_refused():
    boxes = np.float32([[[4, 2, 1, 7], [3, 3, 3, 9], [1, 2, 4, 7]]])
    found = carried({"boxes": boxes}, np.float64([[(2, 0, 0.5), (0, 2, 0.5)]]), (12, 15))
    np.testing.assert_allclose(found["boxes"], boxes / 2)
    assert found["present"].tolist() == [[1, 1, 1]]


def test_scores_of_points_change_places_with_them_and_those_of_boxes_do_not():
    scores, maps = np.float32([[0.1, 0.2]]), np.float64([MOVES["mirrored"]])
    points = {"points": np.float32([[[1, 2], [3, 4]]]), "scores": scores}
    assert carried(points, maps, INTO, (1, 0))["scores"].tolist() == scores[:, ::-1].tolist()
    boxes = {"boxes": np.float32([[[1, 2, 3, 4], [1, 2, 3, 4]]]), **points}
    assert carried(boxes, maps, INTO, (1, 0))["scores"].tolist() == scores.tolist()


def test_a_picture_that_is_not_there_has_nothing_in_it():
    found = nowhere(words(), (3, 4))
    assert set(plane_sizes(found).values()) == {(3, 4)}
    assert not any(found[word].any() for word in ("masks", "boxes", "corners", "points", "present", "visible"))
    assert (found["segments"] == 255).all()
    assert (found["instances"] == 255).all()


def test_every_word_with_a_place_is_known_as_one():
    like = {name: np.zeros((1, *(2,) * len(shape))) for name, word in WORDS.items() for shape in word.shapes}
    assert set(placed(like)) == {"segments", "instances", "masks", "boxes", "corners", "points"}
    assert placed({"probabilities": np.zeros((1, 2, 2, 3))}) == ("probabilities",)
    assert all(kind.outside >= 0 for kind in KINDS.values() if kind.move == "nearest")
