"""Filters, activations and what units answer to, against NumPy in plain sums."""

import jax
import numpy as np
import pytest

from cnnjax import models
from cnnjax.analysis import activations, filters, receptive_fields, unit_patches, unit_statistics
from tests.models.variants import filled
from tests.train.nets import layered

X = np.random.default_rng(1).random((6, 16, 16, 3), np.float32)


def small():
    net = layered(outputs=3)
    return net, filled(net, X.shape[1:])


def test_colour_filters_are_shown_as_they_are_and_deep_ones_by_their_first_component():
    _, variables = small()
    found = filters(variables, "c1")
    kernel = np.asarray(variables["params"]["c1"]["kernel"])
    np.testing.assert_allclose(found.images, kernel.transpose(3, 0, 1, 2))
    assert (found.share == 1).all()
    deep = filters(variables, "c3")
    assert deep.images.shape == (16, 3, 3, 1)
    for n in range(16):
        matrix = np.asarray(variables["params"]["c3"]["kernel"])[..., n].reshape(9, 4)
        values = np.linalg.svd(matrix, compute_uv=False)
        assert deep.share[n] == pytest.approx(values[0] ** 2 / np.sum(values**2), rel=1e-5)
        picture = deep.images[n].reshape(9)
        weights = picture @ matrix / (picture @ picture)
        left = matrix - np.outer(picture, weights)
        assert np.sum(left**2) / np.sum(matrix**2) == pytest.approx(1 - deep.share[n], rel=1e-4)
        assert weights.sum() > 0


def test_a_filter_that_is_one_picture_for_all_channels_is_shown_whole():
    picture = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    kernel = picture[..., None, None] * np.array([0.5, 1.0, -0.2, 0.7])[:, None]
    found = filters({"params": {"conv": {"kernel": kernel}}}, "conv")
    assert found.share[0] == pytest.approx(1)
    assert np.corrcoef(found.images.ravel(), picture.ravel())[0, 1] == pytest.approx(1)
    with pytest.raises(ValueError, match="path is 'convs'; nearest: conv"):
        filters({"params": {"conv": {"kernel": kernel}}}, "convs")


def test_activations_are_the_nets_features_or_what_its_modules_give():
    net = models.vgg11(outputs=3, width=2, hidden=8)
    images = np.ones((1, 32, 32, 3), np.float32)
    variables = filled(net, images.shape[1:])
    maps = {name: np.asarray(value) for name, value in activations(net, variables, images).items()}
    assert list(maps) == ["stage1", "stage2", "stage3", "stage4", "stage5", "pool5"]
    assert all(float(value.min()) >= 0 for value in maps.values())
    before = activations(net, variables, images, of="modules")
    assert list(before)[:4] == ["conv1_1", "norm1_1", "conv2_1", "norm2_1"]
    np.testing.assert_allclose(np.maximum(before["conv1_1"], 0), maps["stage1"], rtol=1e-6)
    net, variables = small()
    with pytest.raises(ValueError, match="Layered has no features"):
        activations(net, variables, X)
    assert list(activations(net, variables, X, of="modules")) == ["c1", "c3", "head"]


def test_statistics_of_units_are_those_of_plain_sums():
    maps = np.maximum(np.random.default_rng(0).normal(size=(10, 3, 4, 5)), 0)
    maps[..., 2] = 0
    labels = np.arange(10) % 3
    found = unit_statistics(maps, labels=labels, top=4)
    for unit in (0, 1, 3, 4):
        values = maps[..., unit]
        assert found.mean[unit] == pytest.approx(values.mean())
        assert found.deviation[unit] == pytest.approx(values.std())
        assert found.zeros[unit] == np.mean(values == 0)
        rates = [image.mean() for image in values]
        ratio = (sum(rates) / 10) ** 2 / (sum(rate**2 for rate in rates) / 10)
        assert found.sparseness[unit] == pytest.approx((1 - ratio) / (1 - 1 / 10))
        means = [np.mean([rate for rate, k in zip(rates, labels, strict=True) if k == c]) for c in range(3)]
        best = int(np.argmax(means))
        others = (sum(means) - means[best]) / 2
        assert found.selectivity[unit] == pytest.approx((means[best] - others) / (means[best] + others))
        assert found.preferred[unit] == best
        peaks = sorted((float(image.max()) for image in values), reverse=True)
        assert found.peaks[unit].tolist() == peaks[:4]
        for rank in range(4):
            assert values[(found.top[unit, rank], *found.places[unit, rank])] == found.peaks[unit, rank]
    assert found.dead.tolist() == [False, False, True, False, False]
    assert np.isnan(found.sparseness[2])
    assert np.isnan(found.selectivity[2])


def test_the_ends_of_sparseness_and_selectivity():
    one = np.zeros((8, 2))
    one[3, 0] = 5.0  # an image alone
    one[:, 1] = 2.0  # all alike
    found = unit_statistics(one, labels=np.arange(8))
    np.testing.assert_allclose(found.sparseness, [1, 0])
    np.testing.assert_allclose(found.selectivity, [1, 0])
    assert found.preferred[0] == 3
    assert np.isnan(unit_statistics(one).selectivity).all()
    with pytest.raises(ValueError, match=r"labels are \(7,\); they must be \(8,\)"):
        unit_statistics(one, labels=np.arange(7))


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("lenet5", "c3"),
        ("convnet", ""),
        ("resnet20", "stage2"),
        pytest.param("all_cnn_c", "", marks=pytest.mark.proofs),
    ],
)
def test_a_patch_is_what_the_unit_sees_and_nothing_else_moves_it(name, where):
    """What lies outside of the patch is painted over: the unit answers as before; of what lies inside it does not."""
    net = getattr(models, name)(outputs=3)
    images = np.random.default_rng(1).random((3, 40, 40, 1 if name == "lenet5" else 3), np.float32)
    variables = jax.jit(net.init)(jax.random.key(0), images)
    where = where or list(jax.eval_shape(lambda v, x: net.apply(v, x, method="features"), variables, images))[1]
    field = receptive_fields(net, images.shape)[where]
    see = jax.jit(lambda variables, x: net.apply(variables, x, method="features")[where])
    maps = np.asarray(see(variables, images))
    units = unit_statistics(maps, top=2)
    patches = unit_patches(images, units, field)
    side = min(int(field.size[0]), 40)
    assert patches.shape == (maps.shape[-1], 2, side, side, images.shape[-1])
    for unit in range(0, maps.shape[-1], 7):
        image, place = units.top[unit, 0], units.places[unit, 0]
        corner = [0 if side == 40 else f + int(s) * p for f, s, p in zip(field.start, field.stride, place, strict=True)]
        inside = np.zeros((40, 40), bool)
        inside[tuple(slice(max(c, 0), max(c + side, 0)) for c in corner)] = True
        patch = patches[unit, 0]
        np.testing.assert_array_equal(patch[~np.isnan(patch[..., 0])].ravel(), images[image][inside].ravel())
        painted = [np.where(kept[..., None], images[image], np.float32(0.9)) for kept in (inside, ~inside, ~inside)]
        outside, within, _ = np.asarray(see(variables, np.stack(painted)))[(slice(None), *place, unit)]
        assert outside == pytest.approx(units.peaks[unit, 0], abs=1e-5)
        assert within != pytest.approx(units.peaks[unit, 0], abs=1e-5)
