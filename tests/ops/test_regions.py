"""What is found in maps of labels, against SciPy and scikit-image."""

import jax
import numpy as np
import pytest
import scipy.ndimage
from skimage.metrics import adapted_rand_error, variation_of_information
from sklearn.metrics import v_measure_score

from cnnjax import ops

nearest_two = jax.jit(ops.nearest_two, static_argnums=1)
rand_sums = jax.jit(ops.rand_sums)
entropies = jax.jit(ops.entropies)


def blobs(seed, size=(23, 31), share=0.6):
    return np.random.default_rng(seed).random(size) < share


def things(seed, size=(40, 33)):
    """Labels of a few separate things."""
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=size), 2.0)
    return scipy.ndimage.label(noise > 0.1)[0]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_components_are_scipys(share):
    masks = np.stack([blobs(seed, share=share) for seed in range(4)])
    found = np.asarray(jax.jit(ops.components)(masks))
    for mask, labels in zip(masks, found, strict=True):
        expected, count = scipy.ndimage.label(mask)
        assert len(np.unique(labels[labels > 0])) == count
        for number in range(1, count + 1):
            assert len(np.unique(labels[expected == number])) == 1
        assert ((labels > 0) == mask).all()


def test_a_spiral_is_one_component():
    spiral = np.zeros((31, 31), bool)
    low, high = 0, 30
    spiral[0] = True
    while high - low > 2:
        spiral[low : high + 1, high] = spiral[high, low : high + 1] = True
        spiral[low + 2 : high + 1, low] = spiral[low + 2, low : high - 1] = True
        low, high = low + 2, high - 2
    assert scipy.ndimage.label(spiral)[1] == len(np.unique(np.asarray(jax.jit(ops.components)(spiral)))) - 1


@pytest.mark.parametrize("times", [1, 2, 5])
def test_erosion_is_scipys_with_nothing_beyond_the_border(times):
    masks = np.stack([blobs(seed, share=0.95) for seed in range(3)])
    expected = [scipy.ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=times) for mask in masks]
    assert (np.asarray(ops.eroded(masks, times)) == np.stack(expected)).all()


@pytest.mark.parametrize("seed", range(4))
def test_distances_to_the_nearest_two_things_are_those_of_every_thing_alone(seed):
    labels = things(seed)
    each = [scipy.ndimage.distance_transform_edt(labels != number) for number in range(1, labels.max() + 1)]
    nearest = np.sort(np.stack(each), 0)[:2]
    found = np.stack(nearest_two(labels, 40))
    np.testing.assert_allclose(found, nearest, rtol=1e-6)
    near = np.stack(nearest_two(labels, 4))
    assert (near[nearest <= 4] == np.float32(nearest[nearest <= 4])).all()
    assert np.isinf(near[nearest > 4 * 2**0.5]).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_rand_error_is_scikit_images(seed):
    truth, guess = things(seed), things(seed + 100) + np.roll(things(seed), 3, 1)
    both, first, second = map(float, rand_sums(truth, guess))
    error, precision, recall = adapted_rand_error(truth, guess)
    assert 1 - 2 * both / (first + second) == pytest.approx(error, abs=1e-6)
    assert sorted([both / first, both / second]) == pytest.approx(sorted([precision, recall]), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_entropies_of_parts_are_those_of_scikit_image_and_scikit_learn(seed):
    truth, guess = things(seed), things(seed + 100) + np.roll(things(seed), 3, 1)
    both, first, second = map(float, entropies(truth, guess))
    known = truth > 0
    apart = variation_of_information(truth[known][None], guess[known][None])
    assert (both - first, both - second) == pytest.approx(tuple(apart * np.log(2)), abs=1e-5)
    told = v_measure_score(truth[known], guess[known])
    assert 2 * (first + second - both) / (first + second) == pytest.approx(told, abs=1e-5)
