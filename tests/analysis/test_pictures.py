"""Every picture is a figure with what it is of in it."""

import io

import numpy as np
import pytest
from PIL import Image

from cnnjax import analysis
from cnnjax.analysis import AttackCurves, Faithfulness, Filters, Sanity, unit_statistics

NUMBERS = np.random.default_rng(0)
IMAGES = NUMBERS.random((2, 12, 12, 3))
SHARES = np.linspace(0, 1, 5)


def falling():
    rows = np.linspace(1, 0.1, 10).reshape(5, 2)
    return Faithfulness(SHARES, rows, rows[::-1], rows.mean(0), rows.mean(0))


def attributions():
    signed = NUMBERS.normal(size=(2, 12, 12, 3))
    return analysis.draw_attributions(
        IMAGES, {"saliency": signed, "grad_cam": signed[..., :1] ** 2}, captions=("a", "b")
    )


def units():
    maps = np.maximum(NUMBERS.normal(size=(12, 4, 4, 5)), 0)
    maps[..., 2] = 0
    return analysis.draw_units(NUMBERS.random((5, 9, 6, 6, 3)), unit_statistics(maps, labels=np.arange(12) % 3))


def column():
    maps = {"stage1": NUMBERS.normal(size=(12, 12, 4)), "last": np.zeros((3, 3, 20))}
    shares = np.array([0.1, 0.6, 0.3])
    return analysis.draw_activations(IMAGES[0], maps, probabilities=shares, names=("cat", "dog", "frog"))


# the picture, how many axes it has, and a text that must be in it
DRAWN = {
    "attributions": (attributions, 6, "grad cam"),
    "faithfulness": (lambda: analysis.draw_faithfulness({"saliency": falling()}), 2, "saliency  0.55"),
    "sanity": (lambda: analysis.draw_sanity({"saliency": Sanity(("head", "conv"), np.eye(2))}), 1, "trained"),
    "attack": (lambda: analysis.draw_attack(IMAGES[0], IMAGES[1], before="cat", after="gibbon"), 3, "gibbon"),
    "curves": (lambda: analysis.draw_attack_curves(AttackCurves(SHARES, {"fgsm": 1 - SHARES})), 1, "fgsm"),
    "filters": (lambda: analysis.draw_filters(Filters(NUMBERS.normal(size=(7, 5, 5, 1)), np.full(7, 0.4))), 1, "40%"),
    "colours": (lambda: analysis.draw_filters(Filters(NUMBERS.normal(size=(7, 5, 5, 3)), np.ones(7))), 1, ""),
    "activations": (column, 4, "dog"),
    "units": (units, 4, "4: "),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_shows_what_it_is_of(name):
    draw, count, text = DRAWN[name]
    figure = draw()
    assert len(figure.axes) == count
    texts = [label.get_text() for label in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]
    assert any(text in each for each in texts)
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=40)
    shown = np.asarray(Image.open(held).convert("L"))
    assert shown.std() > 5


def test_the_scale_of_a_filter_is_symmetric_and_its_own():
    """Grey is 0 in every colour filter, and the greatest weight reaches the end of the scale."""
    pictures = np.zeros((2, 3, 3, 3))
    pictures[0, 0, 0], pictures[1, 0, 0] = 1, -100
    image = analysis.draw_filters(Filters(pictures, np.ones(2)), columns=2).axes[0].images[0].get_array()
    assert image[0, 0].tolist() == [1, 1, 1]
    assert image[0, 4].tolist() == [0, 0, 0]
    assert image[1, 1].tolist() == image[1, 5].tolist() == [0.5, 0.5, 0.5]


def test_a_long_caption_is_broken_into_lines():
    figure = analysis.draw_attributions(IMAGES, {}, captions=("a black-footed ferret, 97% (is a polecat)", "b"))
    assert figure.axes[0].get_xlabel() == "a black-footed ferret,\n97% (is a polecat)"


def test_a_method_is_drawn_alike_in_every_row_also_where_one_row_has_nothing_against_the_class():
    signed = np.stack([NUMBERS.normal(size=(12, 12, 1)), NUMBERS.random((12, 12, 1))])
    figure = analysis.draw_attributions(IMAGES, {"occlusion": signed, "grad_cam": signed**2})
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 2, 1, 1, 2]  # a Grad-CAM lies over the image
