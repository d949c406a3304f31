"""Heat maps and cascades on any backbone: which maps they meet, what each stage sees, what it learns from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import config, models
from tests.models.variants import abstract_variables, at_once, filled, flat

BACKBONES = [
    *("resnet18", "vgg11_bn", "lenet5", "whitened_cnn"),
    pytest.param(models.convnext(outputs=0, blocks=(1, 1, 1, 1)), id="convnext"),
    *(
        pytest.param(name, marks=pytest.mark.proofs)
        for name in ("alexnet", "all_cnn_c", "googlenet", "inception_v3", "densenet40_12", "mobilenet_v3_small", "unet")
    ),
]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_any_backbone_gives_heat_maps_of_the_stride_that_is_asked_for_or_the_next(backbone):
    net, example = models.heatmaps(outputs=3, width=8, backbone=backbone), (107, 118, 3)
    variables = abstract_variables(net, example)
    maps = jax.eval_shape(net.apply, variables, jnp.zeros((1, *example)))
    stride = net.strides[0]
    assert stride >= 4 or stride == max(models.unet(outputs=1, backbone=backbone).strides)
    assert maps.shape == (1, -(-107 // stride), -(-118 // stride), 3) or min(maps.shape[1:3]) > 107 // stride
    assert not any(path.startswith(("backbone/head", "backbone/dense")) for path in flat(variables["params"]))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_any_backbone_is_the_stages_of_a_cascade(backbone):
    net = models.deeppose(outputs=3, backbone=backbone, crop=76, hidden=(8,))
    variables = abstract_variables(net, (107, 118, 3))
    found = jax.eval_shape(net.apply, variables, jnp.zeros((2, 107, 118, 3)))
    assert {name: points.shape for name, points in found.items()} == dict.fromkeys(
        ("main", "stage1", "stage2"), (2, 3, 2)
    )
    assert {"backbone", "refiners_0", "refiners_1", "head", "heads_0", "heads_1"} == set(variables["params"])


def test_a_single_stage_gives_an_array_and_the_further_ones_may_have_a_net_of_their_own():
    backbone = config.section("models", "resnet20", width=4)
    section = config.section("models", "deeppose", backbone=backbone, refine="lenet5", stages=2, hidden=())
    shapes = flat(abstract_variables(config.call("models", section, outputs=2), (32, 32, 3))["params"])
    assert shapes["backbone/stem/conv/kernel"].shape == (3, 3, 3, 4)
    assert shapes["refiners_0/c1/kernel"].shape[:2] == (5, 5)
    assert not any("hidden" in path for path in shapes)
    alone = models.deeppose(outputs=2, backbone="lenet5", stages=1)
    variables = abstract_variables(alone, (32, 32, 3))
    assert jax.eval_shape(alone.apply, variables, jnp.zeros((1, 32, 32, 3))).shape == (1, 2, 2)


def cascade(**options):
    net = models.deeppose(outputs=2, backbone="lenet5", stages=2, crop=16, hidden=(8,), **options)
    variables = filled(net, (40, 56, 1))
    variables["params"]["head"]["output"]["kernel"] *= 0.1  # points in the picture
    return net, variables, np.random.default_rng(0).random((1, 40, 56, 1), np.float32)


def test_before_training_all_points_are_in_the_middle_and_further_stages_leave_them_there():
    net = models.deeppose(outputs=2, backbone="lenet5", stages=2, crop=16, hidden=(8,))
    x = np.random.default_rng(0).random((1, 40, 56, 1), np.float32)
    found = jax.jit(lambda x: net.apply(net.init(jax.random.key(0), x), x))(x)
    for stage, points in found.items():
        np.testing.assert_allclose(points, 0.5, atol=1e-6, err_msg=stage)


def test_a_stage_sees_of_the_whole_picture_a_square_about_each_point_that_the_one_before_found():
    net, variables, x = cascade(share=0.6)

    def found(x):
        stages = net.apply(variables, x)
        return stages["main"][0], stages["stage1"][0]

    slopes, first = at_once(jax.jacobian(found, has_aux=True), x)
    stage1 = first * np.array([40, 56])
    side = 0.6 * max(0.25 * 56, np.ptp(stage1, axis=0).max())
    for slope, centre in zip(np.abs(slopes).sum((1, 2, 5)), stage1, strict=True):
        y, x = np.nonzero(slope)
        for place, middle in ((y, centre[0]), (x, centre[1])):
            low, high = middle - side / 2, middle + side / 2
            assert low - 1.5 <= place.min() <= low + 2
            assert high - 3 <= place.max() <= high + 1


def test_no_gradient_goes_from_a_stage_to_the_one_before():
    net, variables, x = cascade()
    stats = {name: value for name, value in variables.items() if name != "params"}

    def totals(params):
        return {stage: found.sum() for stage, found in net.apply({"params": params, **stats}, x).items()}

    slopes = at_once(jax.jacrev(totals), variables["params"])
    for stage, own in (("stage1", {"backbone", "head"}), ("main", {"refiners_0", "heads_0"})):
        found = {name for name, leaf in slopes[stage].items() if any(map(np.any, jax.tree.leaves(leaf)))}
        assert found == own


def test_squares_are_off_in_training_alone_by_a_jitter_that_goes_by_the_key():
    net, variables, x = cascade(jitter=0.2)
    run = jax.jit(lambda key: net.apply(variables, x, True, rngs={"noise": key}, mutable=["batch_stats"])[0])
    one, again, other = (run(jax.random.key(n)) for n in (1, 1, 2))
    np.testing.assert_array_equal(one["main"], again["main"])
    np.testing.assert_array_equal(one["stage1"], other["stage1"])
    assert np.abs(one["main"] - other["main"]).max() > 1e-3
    still, without = (at_once(each.apply, variables, x) for each in (net, cascade()[0]))
    np.testing.assert_array_equal(still["main"], without["main"])


def test_a_smaller_picture_for_the_first_stage_is_the_mean_of_its_pixels():
    net, _, x = cascade(shrink=2)
    assert net.strides == tuple(2 * n for n in cascade()[0].strides)
    first, small = filled(net, (40, 56, 1)), x.reshape(1, 20, 2, 28, 2, 1).mean((2, 4))
    alone = models.deeppose(outputs=2, backbone="lenet5", stages=1, hidden=(8,))
    kept = {"params": {name: first["params"][name] for name in ("backbone", "head")}}
    shrunk = at_once(lambda variables, x: net.apply(variables, x)["stage1"], first, x)
    np.testing.assert_allclose(shrunk, at_once(alone.apply, kept, small), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", ["heatmaps", "deeppose"])
def test_a_backbone_without_a_plane_is_refused(net):
    for name in ("mlp", ""):
        with pytest.raises(
            ValueError, match=f"^backbone is '{name}'; it must be a net whose features lie in the image"
        ):
            getattr(models, net)(outputs=2, backbone=name)
    with pytest.raises(ValueError, match=r"^refine is 'mlp'; it must be a net whose features lie in the image plane"):
        models.deeppose(outputs=2, backbone="lenet5", refine="mlp")
