"""Sizes, normalisation, noise, losses, boxes and resampling, each against its definition."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax.sharding import PartitionSpec

from cnnjax import ops

NUMBERS = np.random.default_rng(0)
MAPS = NUMBERS.normal(2.0, 3.0, (8, 4, 5, 6)).astype(np.float32)


batch_statistics = jax.jit(ops.batch_statistics)


def _spread(f, devices, *, outputs=PartitionSpec("batch")):
    """f on each device's part of the first argument, the batch axis bound as the train loop binds it."""
    mesh = jax.make_mesh((devices,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=PartitionSpec("batch"), out_specs=outputs, check_vma=False))


def test_sizes_are_those_of_the_lectures():
    assert [ops.output_size(7, 3, s) for s in (1, 2)] == [5, 3]
    assert ops.output_size(32, 5, padding=2) == 32
    assert ops.output_size(32, 5) == 28
    assert [ops.output_size(8, 3, padding=name) for name in ("full", "same", "valid")] == [10, 8, 6]
    assert ops.output_size(6, 3, 2, ceil=True) == 3
    assert ops.output_size(5, 2, 3, padding=1, ceil=True) == 2
    assert ops.transposed_size(5, 3, 2, 1, 1) == 10
    with pytest.raises(ValueError, match=r"stride 3 does not fit: \(7 \+ 0 \+ 0 − 3\) / 3 \+ 1 = 2.33"):
        ops.output_size(7, 3, 3, strict=True)
    with pytest.raises(ValueError, match="5 with dilation 2 reaches over 9, the input of 7 padded by 0 and 0 has 7"):
        ops.output_size(7, 5, dilation=2)


def test_batch_statistics_are_those_of_the_batch_and_normalise_it():
    mean, variance = batch_statistics(MAPS)
    np.testing.assert_allclose(mean, np.mean(MAPS, (0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, np.var(MAPS, (0, 1, 2)), rtol=1e-5)
    y = np.asarray(jax.jit(ops.batch_norm)(MAPS, 2.0, 1.0, mean, variance))
    np.testing.assert_allclose([y.mean(), y.std()], [1, 2], atol=1e-4)


def test_batch_statistics_survive_a_mean_far_from_zero():
    _, variance = batch_statistics(MAPS + np.float32(3e3))
    np.testing.assert_allclose(variance, np.var(np.float64(MAPS), (0, 1, 2)), rtol=1e-3)


@functools.cache
def _normalized(group, devices):
    """The maps normalised in groups, and the gradient of a loss of them."""

    def loss(x):
        y = ops.batch_norm(x, 1.0, 0.0, *ops.batch_statistics(x, group=group))
        return ops.total(jnp.sum(jnp.sin(y))) / ops.count(), y

    gradient, y = _spread(jax.grad(loss, has_aux=True), devices)(MAPS)
    return np.asarray(y), np.asarray(gradient)


@pytest.mark.parametrize("group", [0, 1, 2, 4, 8])
@pytest.mark.parametrize("devices", [1, 2, 8])
def test_groups_of_examples_have_one_statistic_on_any_number_of_devices(group, devices):
    parts = MAPS.reshape(-1, group or 8, *MAPS.shape[1:])
    mean, std = np.mean(parts, (1, 2, 3), keepdims=True), np.std(parts, (1, 2, 3), keepdims=True)
    expected = ((parts - mean) / np.sqrt(std**2 + 1e-5)).reshape(MAPS.shape)
    y, gradient = _normalized(group, devices)
    np.testing.assert_allclose(y, expected, atol=1e-4)
    np.testing.assert_allclose(gradient, _normalized(group, 1)[1], atol=1e-4)


def test_a_group_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(ValueError, match="group is 3; it must be 0 or divide the global batch of 8"):
        ops.batch_statistics(MAPS, group=3)
    with pytest.raises(ValueError, match=r"x is \(0, 4, 3\): nothing has no statistics"):
        ops.batch_statistics(jnp.zeros((0, 4, 3)))


def test_the_other_norms_are_standard_over_their_own_axes():
    def standard(x, over):
        return (x - x.mean(over, keepdims=True)) / np.sqrt(x.var(over, keepdims=True) + 1e-5)

    scale = np.arange(6.0, dtype=np.float32)

    @jax.jit
    def normed(x, kernel):
        layers = [ops.layer_norm(x, 1.0, 0.0, spatial=spatial, eps=1e-5) for spatial in (False, True)]
        others = ops.instance_norm(x, 1.0, 0.0), ops.group_norm(x, scale, 1.0, groups=3)
        return *layers, *others, ops.weight_standardize(kernel)

    *found, kernel = map(np.asarray, normed(MAPS, NUMBERS.normal(3.0, 2.0, (3, 3, 4, 5))))
    np.testing.assert_allclose(found[0], standard(MAPS, -1), atol=1e-4)
    np.testing.assert_allclose(found[1], standard(MAPS, (1, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(found[2], standard(MAPS, (1, 2)), atol=1e-4)
    grouped = standard(MAPS.reshape(8, 20, 3, 2), (1, 3)).reshape(MAPS.shape)
    np.testing.assert_allclose(found[3], grouped * scale + 1, atol=1e-3)
    np.testing.assert_allclose([kernel.mean((0, 1, 2)), kernel.std((0, 1, 2))], [[0] * 5, [1] * 5], atol=1e-4)
    with pytest.raises(ValueError, match="groups is 4; it must divide the 6 channels"):
        ops.group_norm(MAPS, 1.0, 0.0, groups=4)


def test_response_normalisation_divides_by_the_energy_of_the_neighbours():
    energy = np.stack([(MAPS[..., max(0, c - 2) : c + 3] ** 2).sum(-1) for c in range(6)], -1)
    found = jax.jit(lambda x: ops.local_response_norm(x, 5, alpha=0.1, beta=0.75, bias=2.0))(MAPS)
    np.testing.assert_allclose(found, MAPS / (2 + 0.02 * energy) ** 0.75, rtol=1e-4)


def test_dropout_is_the_same_on_any_number_of_devices_and_takes_a_traced_rate():
    key = jax.random.key(3)
    traced = jax.jit(lambda rate: ops.dropout(key, MAPS, rate))
    whole = np.asarray(traced(0.5))
    for devices in (2, 8):
        np.testing.assert_array_equal(_spread(lambda x: ops.dropout(key, x, 0.5), devices)(MAPS), whole)
    kept = whole != 0
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_allclose(whole[kept], 2 * MAPS[kept], rtol=1e-6)
    np.testing.assert_array_equal(traced(0.0), MAPS)
    assert not np.asarray(traced(1.0)).any()
    assert np.isfinite(jax.jit(jax.grad(lambda rate: ops.dropout(key, MAPS, rate).sum()))(0.5))


def test_drop_path_keeps_or_drops_whole_examples():
    rows = np.asarray(jax.jit(ops.drop_path)(jax.random.key(0), np.ones((64, 3, 2)), 0.5)).reshape(64, -1)
    assert set(np.unique(rows)) == {0.0, 2.0}
    assert (rows == rows[:, :1]).all()
    with pytest.raises(ValueError, match=r"key has shape \(3,\)"):
        jax.eval_shape(ops.drop_path, jax.random.split(jax.random.key(0), 3), np.ones((64, 3)), 0.5)


def test_cross_entropies_of_labels_and_of_distributions_agree():
    cross_entropy = jax.jit(ops.softmax_cross_entropy)
    logits = NUMBERS.normal(size=(5, 4)).astype(np.float32)
    labels = np.int32([0, 3, 1, 2, 0])
    for smoothing in (0.0, 0.1):
        target = jax.jit(ops.target_distribution, static_argnums=1)(labels, 4, smoothing=smoothing)
        expected = -np.sum(target * scipy.special.log_softmax(logits, -1), -1)
        np.testing.assert_allclose(cross_entropy(logits, labels, smoothing=smoothing), expected, rtol=1e-5)
        hot = np.eye(4, dtype=np.float32)[labels]
        np.testing.assert_allclose(cross_entropy(logits, hot, smoothing=smoothing), expected, rtol=1e-5)
    assert np.isfinite(cross_entropy(logits, np.full(5, 255, np.int32), smoothing=0.0)).all()
    with pytest.raises(ValueError, match=r"labels are int32 \(5, 4\); for logits \(5, 4\)"):
        ops.softmax_cross_entropy(logits, np.zeros((5, 4), np.int32))


def test_binary_squared_and_dice_losses_are_their_formulas():
    logits, targets = np.float32([[-2.0, 0.5]]), np.float32([[0.0, 1.0]])
    chance = scipy.special.expit(logits)
    expected = -(targets * np.log(chance) + (1 - targets) * np.log(1 - chance))
    np.testing.assert_allclose(jax.jit(ops.sigmoid_cross_entropy)(logits, targets), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(ops.squared_error)(logits, targets), [[4, 0.25]], rtol=1e-6)
    mask = NUMBERS.integers(0, 2, (2, 6, 6, 1)).astype(np.float32)
    np.testing.assert_allclose(jax.jit(ops.dice_loss)(mask, mask), 0, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda x, y: ops.dice_loss(x, y, smooth=0.0))(1 - mask, mask), 1)
    with pytest.raises(ValueError, match="targets have shape"):
        ops.squared_error(logits, targets[0])


def test_boxes_overlap_by_intersection_over_union():
    a, b = np.float32([[0, 0, 2, 2], [5, 5, 5, 9]]), np.float32([[1, 1, 3, 3], [0, 0, 2, 2]])
    np.testing.assert_allclose(jax.jit(ops.box_area)(a), [4, 0])
    np.testing.assert_allclose(jax.jit(ops.box_iou)(a, b), [[1 / 7, 1], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_warping_by_nothing_is_nothing_and_by_whole_pixels_a_shift(method):
    image, warp = MAPS[0], jax.jit(functools.partial(ops.warp, method=method))
    grid = np.stack(np.mgrid[:4.0, :5.0], -1)
    np.testing.assert_allclose(warp(image, grid, fill=0.0), image, atol=1e-5)
    moved = np.asarray(warp(image, grid + 1, fill=7.0))
    np.testing.assert_allclose(moved[:3, :4], image[1:, 1:], atol=1e-5)
    np.testing.assert_allclose(moved[3], 7.0, atol=1e-5)
    np.testing.assert_allclose(warp(MAPS, np.broadcast_to(grid, (8, *grid.shape))), MAPS, atol=1e-5)


def test_borders_are_an_edge_a_mirror_or_a_value():
    line, warp = np.arange(4.0)[:, None], jax.jit(ops.warp, static_argnames="border")
    places = np.float32([[-2], [5]])
    assert warp(line, places, border="edge").tolist() == [[0], [3]]
    assert warp(line, places, border="reflect").tolist() == [[2], [1]]
    assert warp(line, places, fill=-1.0).tolist() == [[-1], [-1]]
    with pytest.raises(ValueError, match="border is 'mirror'; allowed: constant, edge, reflect"):
        warp(line, places, border="mirror")


def test_resizing_doubles_repeats_and_keeps_corners():
    @jax.jit
    def resized(x):
        ours = ops.resize(x, 4, method="nearest"), ops.resize(x, 3, corners=True), ops.resize(x, 4)
        return *ours, jax.image.resize(x, (1, 4, 4, 1), "linear")

    nearest, cornered, found, expected = map(np.squeeze, resized(np.arange(4.0).reshape(1, 2, 2, 1)))
    assert nearest.tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 3, 3]] * 2
    np.testing.assert_allclose(cornered, [[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]])
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_pixel_shuffles_undo_one_another_in_pytorchs_order():
    x = np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8)
    y, back = jax.jit(lambda x: (y := ops.pixel_shuffle(x, 2), ops.pixel_unshuffle(y, 2)))(x)
    y = np.asarray(y)
    assert y[0, :, :, 0].tolist() == [[0, 1], [2, 3]]
    assert y[0, :, :, 1].tolist() == [[4, 5], [6, 7]]
    np.testing.assert_array_equal(back, x)
    with pytest.raises(ValueError, match="factor is 3"):
        ops.pixel_shuffle(x, 3)


def test_regions_of_interest_read_a_plane_exactly():
    rows, columns = np.mgrid[:16.0, :16.0]
    plane = (rows + 10 * columns)[None, :, :, None]
    box = np.float32([[[4, 2, 8, 10]]])
    aligned = jax.jit(lambda box, scale: ops.roi_align(plane, box, (2, 4), scale=scale)[0, 0, :, :, 0])
    expected = np.add.outer([4.5, 6.5], 10 * np.array([2.5, 4.5, 6.5, 8.5]))
    np.testing.assert_allclose(aligned(box, 1.0), expected, rtol=1e-5)
    np.testing.assert_allclose(aligned(2 * box, 0.5), expected, rtol=1e-5)


def test_regions_of_interest_keep_the_digits_of_their_boxes():
    with jax.enable_x64(True):
        rows = np.arange(2000.0)[:, None, None] * np.ones((1, 2, 1))
        box = np.asarray([[[1000.1, 0.0, 1002.3, 2.0]]])
        y = jax.jit(lambda x, box: ops.roi_align(x, box, (1, 1)))(rows[None], box)
        np.testing.assert_allclose(y, 1000.7, rtol=1e-12)


@pytest.mark.parametrize("aligned", [True, False])
def test_regions_of_interest_are_those_of_torchvisions_loop_across_borders_too(aligned):
    """Its rule: a point further out than a pixel is 0, one at the edge is read there, each bin is a mean of points."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 12, 2)).astype(np.float32)
    low = rng.uniform(-6, 18, (12, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.5, 16, (12, 2))], 1).astype(np.float32)

    def at(y, x_):
        if y < -1 or y > 9 or x_ < -1 or x_ > 12:
            return np.zeros(2)
        (i, v), (j, u) = (divmod(min(max(p, 0), n - 1), 1) for p, n in ((y, 9), (x_, 12)))
        i, j = int(i), int(j)
        below, right = min(i + 1, 8), min(j + 1, 11)
        top, bottom = ((1 - u) * x[k, j] + u * x[k, right] for k in (i, below))
        return (1 - v) * top + v * bottom

    def pooled(box):
        y0, x0, y1, x1 = np.float64(box) * 0.75 - 0.5 * aligned
        tall, wide = (y1 - y0, x1 - x0) if aligned else (max(y1 - y0, 1), max(x1 - x0, 1))
        bins = np.zeros((3, 2, 2))
        for (i, j), (m, n) in itertools.product(np.ndindex(3, 2), np.ndindex(2, 2)):
            bins[i, j] += at(y0 + tall * (i + (m + 0.5) / 2) / 3, x0 + wide * (j + (n + 0.5) / 2) / 2) / 4
        return bins

    found = jax.jit(lambda x, boxes: ops.roi_align(x, boxes, (3, 2), scale=0.75, aligned=aligned))(x[None], boxes[None])
    np.testing.assert_allclose(found[0], [pooled(box) for box in boxes], rtol=1e-4, atol=1e-5)
