"""Sizes, normalisation, noise, losses, boxes and resampling, each against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from cnnjax import ops

NUMBERS = np.random.default_rng(0)
MAPS = jnp.asarray(NUMBERS.normal(2.0, 3.0, (8, 4, 5, 6)), jnp.float32)


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
    mean, variance = ops.batch_statistics(MAPS)
    np.testing.assert_allclose(mean, np.mean(MAPS, (0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, np.var(MAPS, (0, 1, 2)), rtol=1e-5)
    y = ops.batch_norm(MAPS, 2.0, 1.0, mean, variance)
    np.testing.assert_allclose([jnp.mean(y), jnp.std(y)], [1, 2], atol=1e-4)


def test_batch_statistics_survive_a_mean_far_from_zero():
    _, variance = ops.batch_statistics(MAPS + 3e3)
    np.testing.assert_allclose(variance, np.var(np.float64(MAPS), (0, 1, 2)), rtol=1e-3)


@pytest.mark.parametrize("group", [0, 1, 2, 4, 8])
@pytest.mark.parametrize("devices", [1, 2, 8])
def test_groups_of_examples_have_one_statistic_on_any_number_of_devices(group, devices):
    def normalized(x):
        return ops.batch_norm(x, 1.0, 0.0, *ops.batch_statistics(x, group=group))

    def gradient(x):
        return jax.grad(lambda x: ops.total(jnp.sum(jnp.sin(normalized(x)))) / ops.count())(x)

    parts = MAPS.reshape(-1, group or 8, *MAPS.shape[1:])
    mean, std = np.mean(parts, (1, 2, 3), keepdims=True), np.std(parts, (1, 2, 3), keepdims=True)
    expected = ((parts - mean) / np.sqrt(std**2 + 1e-5)).reshape(MAPS.shape)
    np.testing.assert_allclose(_spread(normalized, devices)(MAPS), expected, atol=1e-4)
    np.testing.assert_allclose(_spread(gradient, devices)(MAPS), _spread(gradient, 1)(MAPS), atol=1e-4)


def test_a_group_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(ValueError, match="group is 3; it must be 0 or divide the global batch of 8"):
        ops.batch_statistics(MAPS, group=3)
    with pytest.raises(ValueError, match=r"x is \(0, 4, 3\): nothing has no statistics"):
        ops.batch_statistics(jnp.zeros((0, 4, 3)))


def test_the_other_norms_are_standard_over_their_own_axes():
    def standard(x, over):
        return (x - x.mean(over, keepdims=True)) / np.sqrt(x.var(over, keepdims=True) + 1e-5)

    x = np.asarray(MAPS)
    np.testing.assert_allclose(ops.layer_norm(MAPS, 1.0, 0.0, eps=1e-5), standard(x, -1), atol=1e-4)
    np.testing.assert_allclose(
        ops.layer_norm(MAPS, 1.0, 0.0, spatial=True, eps=1e-5), standard(x, (1, 2, 3)), atol=1e-4
    )
    np.testing.assert_allclose(ops.instance_norm(MAPS, 1.0, 0.0), standard(x, (1, 2)), atol=1e-4)
    grouped = standard(x.reshape(8, 20, 3, 2), (1, 3)).reshape(x.shape)
    scale = np.arange(6.0, dtype=np.float32)
    np.testing.assert_allclose(ops.group_norm(MAPS, scale, 1.0, groups=3), grouped * scale + 1, atol=1e-3)
    kernel = ops.weight_standardize(jnp.asarray(NUMBERS.normal(3.0, 2.0, (3, 3, 4, 5)), jnp.float32))
    np.testing.assert_allclose([kernel.mean((0, 1, 2)), kernel.std((0, 1, 2))], [[0] * 5, [1] * 5], atol=1e-4)
    with pytest.raises(ValueError, match="groups is 4; it must divide the 6 channels"):
        ops.group_norm(MAPS, 1.0, 0.0, groups=4)


def test_response_normalisation_divides_by_the_energy_of_the_neighbours():
    x = np.asarray(MAPS)
    energy = np.stack([(x[..., max(0, c - 2) : c + 3] ** 2).sum(-1) for c in range(6)], -1)
    np.testing.assert_allclose(
        ops.local_response_norm(MAPS, 5, alpha=0.1, beta=0.75, bias=2.0), x / (2 + 0.02 * energy) ** 0.75, rtol=1e-4
    )


def test_dropout_is_the_same_on_any_number_of_devices_and_takes_a_traced_rate():
    key = jax.random.key(3)
    whole = ops.dropout(key, MAPS, 0.5)
    for devices in (2, 8):
        np.testing.assert_array_equal(_spread(lambda x: ops.dropout(key, x, 0.5), devices)(MAPS), whole)
    kept = np.asarray(whole) != 0
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_allclose(np.asarray(whole)[kept], 2 * np.asarray(MAPS)[kept], rtol=1e-6)
    traced = jax.jit(lambda rate: ops.dropout(key, MAPS, rate))
    np.testing.assert_array_equal(traced(0.0), MAPS)
    assert float(jnp.abs(traced(1.0)).max()) == 0
    assert np.isfinite(jax.grad(lambda rate: ops.dropout(key, MAPS, rate).sum())(0.5))


def test_drop_path_keeps_or_drops_whole_examples():
    rows = np.asarray(ops.drop_path(jax.random.key(0), jnp.ones((64, 3, 2)), 0.5)).reshape(64, -1)
    assert set(np.unique(rows)) == {0.0, 2.0}
    assert (rows == rows[:, :1]).all()
    with pytest.raises(ValueError, match=r"key has shape \(3,\)"):
        ops.drop_path(jax.random.split(jax.random.key(0), 3), jnp.ones((64, 3)), 0.5)


def test_cross_entropies_of_labels_and_of_distributions_agree():
    logits = jnp.asarray(NUMBERS.normal(size=(5, 4)), jnp.float32)
    labels = jnp.asarray([0, 3, 1, 2, 0])
    for smoothing in (0.0, 0.1):
        target = ops.target_distribution(labels, 4, smoothing=smoothing)
        expected = -jnp.sum(target * jax.nn.log_softmax(logits), -1)
        np.testing.assert_allclose(ops.softmax_cross_entropy(logits, labels, smoothing=smoothing), expected, rtol=1e-5)
        hot = jax.nn.one_hot(labels, 4)
        np.testing.assert_allclose(ops.softmax_cross_entropy(logits, hot, smoothing=smoothing), expected, rtol=1e-5)
    assert np.isfinite(ops.softmax_cross_entropy(logits, jnp.full(5, 255))).all()
    with pytest.raises(ValueError, match=r"labels are int32 \(5, 4\); for logits \(5, 4\)"):
        ops.softmax_cross_entropy(logits, jnp.zeros((5, 4), int))


def test_binary_squared_and_dice_losses_are_their_formulas():
    logits, targets = jnp.asarray([[-2.0, 0.5]]), jnp.asarray([[0.0, 1.0]])
    chance = jax.nn.sigmoid(logits)
    expected = -(targets * jnp.log(chance) + (1 - targets) * jnp.log(1 - chance))
    np.testing.assert_allclose(ops.sigmoid_cross_entropy(logits, targets), expected, rtol=1e-5)
    np.testing.assert_allclose(ops.squared_error(logits, targets), [[4, 0.25]], rtol=1e-6)
    mask = jnp.asarray(NUMBERS.integers(0, 2, (2, 6, 6, 1)), jnp.float32)
    np.testing.assert_allclose(ops.dice_loss(mask, mask), 0, atol=1e-6)
    np.testing.assert_allclose(ops.dice_loss(1 - mask, mask, smooth=0.0), 1)
    with pytest.raises(ValueError, match="targets have shape"):
        ops.squared_error(logits, targets[0])


def test_boxes_overlap_by_intersection_over_union():
    a, b = jnp.asarray([[0.0, 0, 2, 2], [5, 5, 5, 9]]), jnp.asarray([[1.0, 1, 3, 3], [0, 0, 2, 2]])
    np.testing.assert_allclose(ops.box_area(a), [4, 0])
    np.testing.assert_allclose(ops.box_iou(a, b), [[1 / 7, 1], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_warping_by_nothing_is_nothing_and_by_whole_pixels_a_shift(method):
    image = MAPS[0]
    grid = jnp.stack(jnp.meshgrid(jnp.arange(4.0), jnp.arange(5.0), indexing="ij"), -1)
    np.testing.assert_allclose(ops.warp(image, grid, method=method), image, atol=1e-5)
    moved = ops.warp(image, grid + 1, method=method, fill=7.0)
    np.testing.assert_allclose(moved[:3, :4], image[1:, 1:], atol=1e-5)
    np.testing.assert_allclose(moved[3], 7.0, atol=1e-5)
    batch = ops.warp(MAPS, jnp.broadcast_to(grid, (8, *grid.shape)), method=method)
    np.testing.assert_allclose(batch, MAPS, atol=1e-5)


def test_borders_are_an_edge_a_mirror_or_a_value():
    line = jnp.arange(4.0)[:, None]
    places = jnp.asarray([[-2.0], [5.0]])
    assert ops.warp(line, places, border="edge")[:, 0].tolist() == [0, 3]
    assert ops.warp(line, places, border="reflect")[:, 0].tolist() == [2, 1]
    assert ops.warp(line, places, fill=-1.0)[:, 0].tolist() == [-1, -1]
    with pytest.raises(ValueError, match="border is 'mirror'; allowed: constant, edge, reflect"):
        ops.warp(line, places, border="mirror")


def test_resizing_doubles_repeats_and_keeps_corners():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    assert ops.resize(x, 4, method="nearest")[0, :, :, 0].tolist() == [[0, 0, 1, 1]] * 2 + [[2, 2, 3, 3]] * 2
    np.testing.assert_allclose(ops.resize(x, 3, corners=True)[0, :, :, 0], [[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]])
    np.testing.assert_allclose(ops.resize(x, 4), jax.image.resize(x, (1, 4, 4, 1), "linear"), rtol=1e-6)


def test_pixel_shuffles_undo_one_another_in_pytorchs_order():
    x = jnp.arange(8.0).reshape(1, 1, 1, 8)
    y = ops.pixel_shuffle(x, 2)
    assert y[0, :, :, 0].tolist() == [[0, 1], [2, 3]]
    assert y[0, :, :, 1].tolist() == [[4, 5], [6, 7]]
    np.testing.assert_array_equal(ops.pixel_unshuffle(y, 2), x)
    with pytest.raises(ValueError, match="factor is 3"):
        ops.pixel_shuffle(x, 3)


def test_regions_of_interest_read_a_plane_exactly():
    rows, columns = jnp.meshgrid(jnp.arange(16.0), jnp.arange(16.0), indexing="ij")
    plane = (rows + 10 * columns)[None, :, :, None]
    box = jnp.asarray([[[4.0, 2.0, 8.0, 10.0]]])
    y = ops.roi_align(plane, box, (2, 4))[0, 0, :, :, 0]
    expected = np.add.outer([4.5, 6.5], 10 * np.array([2.5, 4.5, 6.5, 8.5]))
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    half = ops.roi_align(plane, 2 * box, (2, 4), scale=0.5)[0, 0, :, :, 0]
    np.testing.assert_allclose(half, expected, rtol=1e-5)


def test_regions_of_interest_keep_the_digits_of_their_boxes():
    with jax.enable_x64(True):
        rows = jnp.arange(2000.0)[:, None, None] * jnp.ones((1, 2, 1))
        box = jnp.asarray([[[1000.1, 0.0, 1002.3, 2.0]]])
        y = ops.roi_align(rows[None], box, (1, 1))
        np.testing.assert_allclose(y, 1000.7, rtol=1e-12)
