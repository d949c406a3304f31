"""What is particular to each family."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import config, models, ops
from cnnjax.analysis import cost
from cnnjax.models._bitmaps import digit_bitmaps
from cnnjax.models._preset import preset
from cnnjax.models.lenets import _TABLE, SparseConv, Subsampling
from cnnjax.models.resnets import resnet
from cnnjax.models.unets import crop_middle
from tests.models.variants import abstract_variables, at_once, filled, flat, quickly, tiny


def shapes(net, example):
    return {path: leaf.shape for path, leaf in flat(abstract_variables(net, example)["params"]).items()}


def features(net, example):
    variables = abstract_variables(net, example)
    return jax.eval_shape(lambda v, x: net.apply(v, x, method="features"), variables, jnp.zeros((1, *example)))


# LeNet


def test_c3_of_1998_reads_the_maps_of_table_one():
    assert [len(sources) for sources in _TABLE] == [3] * 6 + [4] * 9 + [6]
    assert all(sum(source in sources for sources in _TABLE) == 10 for source in range(6))  # ten crosses in each row
    assert len(set(_TABLE)) == 16
    layer, rng = SparseConv("lecun_uniform"), np.random.default_rng(0)
    x = rng.normal(size=(1, 5, 5, 6)).astype(np.float32)
    shapes = jax.eval_shape(layer.init, jax.random.key(1), x)
    variables = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)
    grad = at_once(jax.jacrev(lambda x: layer.apply(variables, x)[0, 0, 0]), x)
    seen = np.abs(np.asarray(grad)).sum((1, 2, 3)) > 0
    assert [tuple(np.flatnonzero(row)) for row in seen] == list(_TABLE)


def test_subsampling_of_1998_adds_four_pixels_times_a_coefficient_and_a_bias():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    out = at_once(Subsampling().apply, {"params": {"scale": np.float32([2]), "bias": np.float32([1])}}, x)
    np.testing.assert_allclose(out[0, :, :, 0], 2 * np.array([[10, 18], [42, 50]]) + 1)


def test_the_bitmaps_are_ten_different_pictures_of_84_pixels():
    bitmaps = digit_bitmaps()
    assert bitmaps.shape == (10, 84)
    assert set(np.unique(bitmaps)) == {-1, 1}
    distances = ((bitmaps[:, None] - bitmaps) ** 2).sum(-1) / 4
    assert distances[~np.eye(10, dtype=bool)].min() >= 4


def test_the_answer_of_1998_is_the_digit_whose_bitmap_is_nearest():
    net = models.lenet5_1998(outputs=10)
    variables = filled(net, (28, 28, 1))
    variables["params"]["f6"] = {"kernel": np.zeros((120, 84), np.float32), "bias": np.zeros(84, np.float32)}
    x = np.zeros((1, 28, 28, 1), np.float32)
    run = quickly(net.apply, variables, x)
    for digit in range(10):
        variables["params"]["f6"]["bias"] = np.arctanh(digit_bitmaps()[digit] / 1.7159) * 1.5
        out = np.asarray(run(variables, x)[0])
        assert out.argmax() == digit
        np.testing.assert_allclose(out[digit], 0, atol=1e-8)
    with pytest.raises(ValueError, match="outputs is 12; lenet5_1998 has bitmaps for the ten digits"):
        models.lenet5_1998(outputs=12)


def test_lenet_takes_every_combination_of_the_lectures():
    lectures = {"activation": "relu", "pool": "max"}
    for options in (lectures, {"norm": "batch"}, {"pool": "lp"}, {"padding": 0, "width": 12}):
        assert shapes(models.lenet5(outputs=10, **options), (32, 32, 1))["head/kernel"] == (84, 10)


# plain nets


def test_a_convnet_is_what_its_tuple_says():
    net = models.convnet(outputs=3, layers=(("conv", 8, 5, 2), ("pool", 3, 2), ("conv", 4), ("dense", 6), ("dense", 5)))
    assert {path: shape for path, shape in shapes(net, (16, 16, 2)).items() if path.endswith("kernel")} == {
        "conv1/kernel": (5, 5, 2, 8),
        "conv2/kernel": (3, 3, 8, 4),
        "dense1/kernel": (3 * 3 * 4, 6),
        "dense2/kernel": (6, 5),
        "head/kernel": (5, 3),
    }
    assert net.strides == (2, 4)


def test_pooling_may_give_its_stride_to_the_convolution_before():
    pooled, strided = (models.convnet(outputs=3, pool=pool) for pool in ("max", "none"))
    assert shapes(pooled, (28, 28, 1)) == shapes(strided, (28, 28, 1))
    assert (pooled.strides, strided.strides) == ((1, 2), (2, 4))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((("convv", 8),), "layers holds 'convv'; nearest: conv; allowed: conv, dense, pool"),
        ((("conv", 8, 3, 1, 1),), r"layers has \('conv', 8, 3, 1, 1\); 'conv' takes 1 to 3 numbers"),
        ((("pool", 2),), r"pool is 'none', but no convolution before \('pool', 2\) can take its stride"),
    ],
)
def test_a_tuple_that_makes_no_net_is_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        models.convnet(outputs=3, layers=layers, pool="none")


def test_the_siblings_of_all_cnn_differ_in_how_they_halve():
    found = {
        name: cost(getattr(models, name)(outputs=10), (1, 32, 32, 3))
        for name in ("base_cnn_c", "strided_cnn_c", "conv_pool_cnn_c", "all_cnn_c")
    }
    parameters = {name: each.parameters for name, each in found.items()}
    assert parameters == {
        "base_cnn_c": 954_730,
        "strided_cnn_c": 954_730,
        "conv_pool_cnn_c": 1_369_738,
        "all_cnn_c": 1_369_738,
    }
    assert found["strided_cnn_c"].macs < found["base_cnn_c"].macs


# residual nets


def test_a_preset_is_its_family_with_other_defaults_and_keeps_every_option():
    net = models.resnet50(outputs=10, width=16, blocks=(1, 1))
    assert shapes(net, (32, 32, 3))["stage2/block1/conv3/kernel"] == (1, 1, 32, 128)
    with pytest.raises(TypeError, match=r"tiny sets \['depth'\], which resnet does not have"):
        preset(resnet, "tiny", "A net.", depth=3)


def test_the_first_version_strides_in_the_first_convolution():
    first, later = (features(models.resnet50(outputs=0, blocks=(1, 1), version=v), (64, 64, 3)) for v in ("1", "1.5"))
    assert {name: leaf.shape for name, leaf in first.items()} == {name: leaf.shape for name, leaf in later.items()}
    macs = [cost(models.resnet50(outputs=1000, version=v), (1, 224, 224, 3)).macs for v in ("1", "1.5")]
    assert macs == [3_857_973_248, 4_089_184_256]


def test_option_a_adds_no_parameters_and_option_b_does():
    a, b = (cost(models.resnet20(outputs=10, shortcut=kind), (1, 32, 32, 3)).parameters for kind in "AB")
    assert b - a == 16 * 32 + 32 * 64 + 2 * (32 + 64)


def test_the_shortcut_of_option_a_keeps_every_second_pixel_and_adds_zeros():
    net = models.resnet(outputs=0, blocks=(1, 1), width=4, stem="cifar", shortcut="A", norm="none")
    variables = jax.tree.map(np.zeros_like, filled(net, (8, 8, 3)))
    variables["params"]["stem"]["conv"]["bias"] = np.arange(1, 5, dtype=np.float32)
    maps = at_once(lambda v, x: net.apply(v, x, method="features"), variables, np.zeros((1, 8, 8, 3), np.float32))
    assert maps["stage2"].shape == (1, 4, 4, 8)
    np.testing.assert_allclose(maps["stage2"][0, 0, 0], [1, 2, 3, 4, 0, 0, 0, 0])


def test_zero_init_starts_every_block_as_its_shortcut():
    net = models.resnet(outputs=0, blocks=(2,), width=4, stem="cifar", zero_init=True)
    x = np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype(np.float32)

    def begun(key, x):
        variables = net.init(key, x, train=False)
        ends = net.apply(variables, x, method=lambda net, x: (net.stem(x), net.features(x)["stage1"]))
        return variables["params"]["stage1"]["block1"]["norm2"]["scale"], ends

    scale, (stem, last) = at_once(begun, jax.random.key(0), x)
    assert not np.any(scale)
    np.testing.assert_allclose(last, stem, atol=1e-6)


def test_residual_nets_take_series_and_video_too():
    assert shapes(models.resnet18(outputs=3, width=8), (64, 5))["stem/conv/kernel"] == (7, 5, 8)
    assert shapes(models.resnet18(outputs=3, width=8), (8, 32, 32, 3))["stem/conv/kernel"] == (7, 7, 7, 3, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem": "imagnet"}, "stem is 'imagnet'; nearest: imagenet; allowed: cifar, deep, imagenet"),
        ({"version": "3"}, "version is '3'; allowed: 1, 1.5, 2"),
        ({"shortcut": "E"}, "shortcut is 'E'; allowed: A, B, C, D, none"),
    ],
)
def test_an_unknown_option_of_a_residual_net_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        models.resnet18(outputs=3, **options)


# GoogLeNet and Inception


@pytest.mark.parametrize(
    ("name", "heads"), [("googlenet", ("auxiliary1", "auxiliary2")), ("googlenet_2014", ("auxiliary1", "auxiliary2"))]
)
def test_auxiliary_heads_exist_from_the_start_and_answer_in_training_alone(name, heads):
    net = getattr(models, name)(outputs=7, auxiliary=True)
    variables, x = abstract_variables(net, (64, 64, 3)), jnp.zeros((2, 64, 64, 3))
    assert set(heads) <= set(variables["params"])

    def run(variables, x, train):
        return net.apply(variables, x, train=train, rngs={"noise": jax.random.key(0)}, mutable=["batch_stats"])[0]

    trained = jax.eval_shape(lambda v, x: run(v, x, True), variables, x)
    assert {key: leaf.shape for key, leaf in trained.items()} == dict.fromkeys(("main", *heads), (2, 7))
    assert jax.eval_shape(lambda v, x: run(v, x, False), variables, x).shape == (2, 7)


# U-Net


def test_the_middle_is_cropped_and_of_an_odd_rest_the_end_loses_more():
    assert crop_middle(np.arange(7).reshape(1, 7, 1), (4,))[0, :, 0].tolist() == [1, 2, 3, 4]


def test_the_published_u_net_gives_388_for_572():
    net = models.unet_2015(outputs=2)
    variables = abstract_variables(net, (572, 572, 1))
    out = jax.eval_shape(lambda v, x: net.apply(v, x), variables, jnp.zeros((1, 572, 572, 1)))
    assert out.shape == (1, 388, 388, 2)


@pytest.mark.parametrize(
    "backbone",
    [
        "resnet18",
        "vgg11_bn",
        pytest.param(models.convnext(outputs=0, blocks=(1, 1, 1, 1)), id="convnext"),
        "alexnet",
        "all_cnn_c",
        "cnnjax.models:resnet20",
        *(
            pytest.param(name, marks=pytest.mark.proofs)
            for name in ("googlenet", "inception_v3", "densenet40_12", "mobilenet_v3_small", "efficientnet_b0", "unet")
        ),
    ],
)
def test_any_backbone_is_an_encoder_whatever_its_strides(backbone):
    net = models.unet(outputs=3, width=4, backbone=backbone)
    example = (107, 118, 3)
    variables = abstract_variables(net, example)
    out = jax.eval_shape(lambda v, x: net.apply(v, x), variables, jnp.zeros((1, *example)))
    assert out.shape == (1, 107, 118, 3)
    assert not any(path.startswith(("backbone/head", "backbone/dense")) for path in flat(variables["params"]))


@pytest.mark.parametrize(
    ("backbone", "example"),
    [
        ("tdnn", (53, 3)),
        ("unet_2015", (207, 211, 3)),
        ("whitened_cnn", (107, 118, 3)),
    ],
)
def test_a_backbone_that_pads_nothing_is_an_encoder_whose_map_is_continued_at_its_edges(backbone, example):
    net = models.unet(outputs=2, width=4, backbone=backbone)
    out = jax.eval_shape(net.apply, abstract_variables(net, example), jnp.zeros((1, *example)))
    assert out.shape == (1, *example[:-1], 2)


@pytest.mark.parametrize(("backbone", "size", "shown"), [("vgg11", 256, 132), ("resnet18", 407, 296)])
def test_a_valid_u_net_shows_the_middle_of_the_image_at_its_own_scale(backbone, size, shown):
    net = models.unet(outputs=1, width=4, padding="valid", norm="none", backbone=backbone)
    out = jax.eval_shape(net.apply, abstract_variables(net, (size, size, 3)), jnp.zeros((1, size, size, 3)))
    assert out.shape == (1, shown, shown, 1)


def test_a_valid_u_net_looks_where_the_same_padded_one_does():
    linear = {"width": 2, "norm": "none", "activation": "none"}
    encoder = models.resnet(outputs=0, blocks=(1, 1), pool="avg", **linear)
    x = np.zeros((1, 160, 160, 1), np.float32)

    def centres(padding, rows):
        """Where the outputs in the middle of these rows of the input look."""
        net = models.unet(outputs=1, padding=padding, backbone=encoder, **linear)
        variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), abstract_variables(net, x.shape[1:]))

        @jax.jit
        def seen(row):
            return jax.grad(lambda x: net.apply(variables, x)[0, row, row, 0])(x).sum((0, 2, 3))

        margin = (160 - jax.eval_shape(net.apply, variables, x).shape[1]) // 2
        return [float(np.average(np.arange(160), weights=seen(row - margin))) for row in rows]

    np.testing.assert_allclose(centres("valid", (70, 90)), centres("same", (70, 90)), atol=0.5)


def test_a_backbone_may_be_a_section_of_the_config_with_options_of_its_own():
    section = config.section("models", "unet", width=4, backbone=config.section("models", "resnet20", width=8))
    net = config.call("models", section, outputs=2)
    assert shapes(net, (32, 32, 3))["backbone/stem/conv/kernel"] == (3, 3, 3, 8)
    same = models.unet(outputs=2, width=4, backbone=models.resnet20(outputs=0, width=8))
    assert shapes(same, (32, 32, 3)) == shapes(net, (32, 32, 3))


def test_an_unknown_backbone_is_an_error_with_the_nearest_one():
    with pytest.raises(ValueError, match="backbone is 'mlp'; its features lie in no image plane"):
        models.unet(outputs=2, backbone="mlp")
    with pytest.raises(ValueError, match=r"backbone is 'resnet43'; it must be a net of .*did you mean 'resnet4"):
        models.unet(outputs=2, backbone="resnet43")


def test_an_fcn_scores_every_map_from_its_finest_stride_on():
    net = models.fcn(outputs=3, backbone="resnet18", finest=8)
    sizes = {name: shape for name, shape in shapes(net, (107, 118, 3)).items() if name.startswith("score")}
    assert {name.split("/")[0] for name in sizes} == {"score2", "score3", "score4"}
    out = jax.eval_shape(net.apply, abstract_variables(net, (107, 118, 3)), jnp.zeros((1, 107, 118, 3)))
    assert out.shape == (1, 107, 118, 3)
    with pytest.raises(ValueError, match=r"finest is 64; the coarsest map of resnet18 has a stride of 32"):
        models.fcn(outputs=3, finest=64)
    with pytest.raises(ValueError, match=r"backbone is ''; give a net whose features lie in the image plane"):
        models.fcn(outputs=3, backbone="")


# GAN


def test_the_two_halves_of_a_gan_are_its_groups_of_parameters():
    net = models.dcgan(outputs=1, width=4, latent=8)
    variables = filled(net, (28, 28, 1))
    assert set(variables["params"]) == {"generator", "discriminator"}
    z = np.ones((3, 8), np.float32)
    images = at_once(lambda variables, z: net.apply(variables, z, train=True, method="generator"), variables, z)
    assert images.shape == (3, 28, 28, 1)
    assert np.abs(images).max() <= 1
    scores = jax.eval_shape(lambda v, x: net.apply(v, x, train=True, method="discriminator"), variables, images)
    assert scores.shape == (3, 1)
    names = []
    jax.eval_shape(lambda v, x: names.extend(net.apply(v, x)), variables, images)
    assert names == ["main", "generated"]
    with pytest.raises(ValueError, match="size is 30; the generator doubles twice"):
        models.dcgan(outputs=1, size=30)


@pytest.mark.parametrize(("hidden", "together"), [(0, False), (16, True)])
def test_a_critic_weighs_what_is_far_apart_together_by_a_hidden_layer_alone(hidden, together):
    net = models.dcgan(outputs=1, width=4, latent=8, hidden=hidden)
    images = np.zeros((4, 28, 28, 1), np.float32)
    images[[1, 3], :6, :6] = images[[2, 3], -6:, -6:] = 1
    judged = lambda variables, x: net.apply(variables, x, method="discriminator")[:, 0]  # noqa: E731
    scores = np.asarray(at_once(judged, filled(net, (28, 28, 1)), images))
    apart = scores[3] - scores[1] - scores[2] + scores[0]
    assert (abs(apart) > 1e-3 * np.abs(scores).max()) == together


def test_a_whitening_layer_makes_its_outputs_uncorrelated_and_of_unit_size():
    net = models.whitened_cnn(outputs=10, jitter=0.0)
    smooth = np.random.default_rng(0).normal(size=(64, 9, 9, 3)).cumsum(1).cumsum(2).astype(np.float32) / 4

    def whitened(variables, images):
        return ops.conv(images, net.prepare(variables, images)["params"]["whiten"]["kernel"]).reshape(-1, 24)

    found = np.asarray(at_once(whitened, filled(net, smooth.shape[1:]), smooth))
    np.testing.assert_allclose(found[:, :12].T @ found[:, :12] / len(found), np.eye(12), atol=2e-2)
    np.testing.assert_allclose(found[:, 12:], -found[:, :12], rtol=1e-5)


def test_the_fast_cifar_net_has_its_published_multiplies():
    net = models.whitened_cnn(outputs=10)
    assert cost(net, (1, 32, 32, 3)).macs == 118_147_360


@pytest.mark.parametrize("version", ["1.5", "2"])
def test_a_plain_net_is_a_residual_one_without_its_shortcuts(version):
    plain, residual = (
        shapes(resnet(outputs=3, blocks=(1, 1), width=4, stem="cifar", shortcut=kind, version=version), (8, 8, 3))
        for kind in ("none", "B")
    )
    assert {path: shape for path, shape in residual.items() if "shortcut" not in path} == plain
    assert len(plain) < len(residual)


def test_a_net_of_frames_gives_the_mean_of_its_answers_to_each_in_any_order():
    net, x = tiny("frames")
    variables = filled(net, x.shape[1:])
    answer, shuffled, one, two = at_once(
        lambda x: [net.apply(variables, part) for part in (x, x[:, ::-1], x[:, :1], x[:, 1:])], x
    )
    np.testing.assert_allclose(shuffled, answer, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose((one + 2 * two) / 3, answer, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="backbone is ''; frames needs a net with features"):
        models.frames(outputs=3, backbone="")
