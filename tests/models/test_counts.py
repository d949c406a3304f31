"""Parameters and MACs of every variant against the published ones (the papers', torchvision's, timm's)."""

import math

import pytest

from cnnjax.analysis import cost
from tests.models.variants import ENTRIES

SMALL, LARGE = (32, 32, 3), (224, 224, 3)
# name, options, example, outputs, parameters, MACs (0 where nobody published them)
TABLE = [
    ("lenet5", {}, (28, 28, 1), 10, 61_706, 416_520),
    ("lenet5_1998", {}, (28, 28, 1), 10, 60_000, 0),
    ("convnetjs_cifar10", {}, SMALL, 10, 22_466, 0),
    ("all_cnn_c", {}, SMALL, 10, 1_369_738, 0),
    ("alexnet_2012", {}, (227, 227, 3), 1000, 60_965_224, 724_406_816),
    ("alexnet", {}, LARGE, 1000, 61_100_840, 714_188_480),
    ("vgg11", {}, LARGE, 1000, 132_863_336, 7_609_090_048),
    ("vgg13", {}, LARGE, 1000, 133_047_848, 11_308_466_176),
    ("vgg16", {}, LARGE, 1000, 138_357_544, 15_470_264_320),
    ("vgg19", {}, LARGE, 1000, 143_667_240, 19_632_062_464),
    ("vgg11_bn", {}, LARGE, 1000, 132_868_840, 7_609_090_048),
    ("vgg13_bn", {}, LARGE, 1000, 133_053_736, 11_308_466_176),
    ("vgg16_bn", {}, LARGE, 1000, 138_365_992, 15_470_264_320),
    ("vgg19_bn", {}, LARGE, 1000, 143_678_248, 19_632_062_464),
    ("googlenet_2014", {}, LARGE, 1000, 6_998_552, 1_582_671_872),
    ("googlenet_2014", {"auxiliary": True}, LARGE, 1000, 13_378_280, 1_582_671_872),
    ("googlenet", {}, LARGE, 1000, 6_624_904, 1_498_376_192),
    ("googlenet", {"auxiliary": True}, LARGE, 1000, 13_004_888, 1_498_376_192),
    ("inception_v3", {}, (299, 299, 3), 1000, 23_834_568, 5_713_216_096),
    ("inception_v3", {"auxiliary": True}, (299, 299, 3), 1000, 27_161_264, 5_713_216_096),
    ("resnet18", {}, LARGE, 1000, 11_689_512, 1_814_073_344),
    ("resnet34", {}, LARGE, 1000, 21_797_672, 3_663_761_408),
    ("resnet50", {}, LARGE, 1000, 25_557_032, 4_089_184_256),
    ("resnet101", {}, LARGE, 1000, 44_549_160, 7_801_405_440),
    ("resnet152", {}, LARGE, 1000, 60_192_808, 11_513_626_624),
    ("resnet18_v2", {}, LARGE, 1000, 11_687_720, 1_814_073_344),
    ("resnet34_v2", {}, LARGE, 1000, 21_795_880, 3_663_761_408),
    ("resnet50_v2", {}, LARGE, 1000, 25_549_352, 4_089_184_256),
    ("resnet101_v2", {}, LARGE, 1000, 44_541_480, 7_801_405_440),
    ("resnet152_v2", {}, LARGE, 1000, 60_185_128, 11_513_626_624),
    ("resnet18d", {}, LARGE, 1000, 11_708_744, 2_053_713_920),
    ("resnet34d", {}, LARGE, 1000, 21_816_904, 3_903_401_984),
    ("resnet50d", {}, LARGE, 1000, 25_576_264, 4_328_824_832),
    ("resnet101d", {}, LARGE, 1000, 44_568_392, 8_041_046_016),
    ("resnet152d", {}, LARGE, 1000, 60_212_040, 11_753_267_200),
    ("wide_resnet50_2", {}, LARGE, 1000, 68_883_240, 11_398_021_120),
    ("wide_resnet101_2", {}, LARGE, 1000, 126_886_696, 22_753_050_624),
    ("resnext50_32x4d", {}, LARGE, 1000, 25_028_904, 4_230_479_872),
    ("resnext101_32x8d", {}, LARGE, 1000, 88_791_336, 16_414_015_488),
    ("resnext101_64x4d", {}, LARGE, 1000, 83_455_272, 15_460_270_080),
    ("resnet18", {"stem": "cifar"}, SMALL, 10, 11_173_962, 0),
    ("resnet20", {}, SMALL, 10, 269_722, 0),
    ("resnet32", {}, SMALL, 10, 464_154, 0),
    ("resnet44", {}, SMALL, 10, 658_586, 0),
    ("resnet56", {}, SMALL, 10, 853_018, 0),
    ("resnet110", {}, SMALL, 10, 1_727_962, 0),
    ("wrn28_10", {}, SMALL, 10, 36_479_194, 0),
    ("densenet121", {}, LARGE, 1000, 7_978_856, 2_834_161_664),
    ("densenet161", {}, LARGE, 1000, 28_681_000, 7_727_907_072),
    ("densenet169", {}, LARGE, 1000, 14_149_480, 3_359_843_328),
    ("densenet201", {}, LARGE, 1000, 20_013_928, 4_291_365_888),
    ("densenet40_12", {}, SMALL, 10, 1_019_722, 0),
    ("densenet_bc100_12", {}, SMALL, 10, 769_162, 0),
    ("unet_2015", {}, (572, 572, 1), 2, 31_030_658, 150_428_424_448),
    ("mobilenet_v2", {}, LARGE, 1000, 3_504_872, 300_774_272),
    ("mobilenet_v3_large", {}, LARGE, 1000, 5_483_032, 216_589_760),
    ("mobilenet_v3_small", {}, LARGE, 1000, 2_542_856, 56_510_400),
    ("efficientnet_b0", {}, LARGE, 1000, 5_288_548, 385_814_752),
    ("efficientnet_b1", {}, (240, 240, 3), 1000, 7_794_184, 686_802_832),
    ("efficientnet_b2", {}, (288, 288, 3), 1000, 9_109_994, 1_087_529_456),
    ("efficientnet_b3", {}, (300, 300, 3), 1000, 12_233_232, 1_827_141_392),
    ("efficientnet_b4", {}, (380, 380, 3), 1000, 19_341_616, 4_393_771_024),
    ("efficientnet_lite0", {}, LARGE, 1000, 4_652_008, 0),
    ("efficientnet_lite1", {}, (240, 240, 3), 1000, 5_416_680, 0),
    ("efficientnet_lite2", {}, (260, 260, 3), 1000, 6_092_072, 0),
    ("convnext_tiny", {}, LARGE, 1000, 28_589_128, 4_455_531_264),
    ("convnext_small", {}, LARGE, 1000, 50_223_688, 8_683_712_256),
    ("convnext_base", {}, LARGE, 1000, 88_591_464, 15_354_729_472),
    ("convnext_large", {}, LARGE, 1000, 197_767_336, 34_361_433_600),
    ("c3d", {}, (16, 112, 112, 3), 101, 78_409_573, 0),
    ("r3d_18", {}, (16, 112, 112, 3), 400, 33_371_472, 40_696_553_472),
    ("r2plus1d_18", {}, (16, 112, 112, 3), 400, 31_505_325, 40_519_080_960),
]

# One of each kind stands for its siblings, which are the same function with other numbers: those are for `make proofs`.
QUICK = {
    *("lenet5", "lenet5_1998", "convnetjs_cifar10", "all_cnn_c", "alexnet_2012", "alexnet", "vgg11", "vgg11_bn"),
    *("googlenet_2014", "inception_v3", "resnet18", "resnet50", "resnet18_v2", "resnet18d", "resnet20", "unet_2015"),
    *("mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "c3d", "r3d_18", "r2plus1d_18"),
}


def is_quick(name, options):
    """Whether a variant is counted by `make test`; heads at the side by those of the smallest net that has any."""
    return name in QUICK and not (options.get("auxiliary") and name != "googlenet_2014")


@pytest.mark.parametrize(
    ("name", "options", "example", "outputs", "parameters", "macs"),
    [pytest.param(*row, marks=[] if is_quick(*row[:2]) else pytest.mark.proofs) for row in TABLE],
)
def test_every_variant_has_the_published_parameters_and_multiplies(name, options, example, outputs, parameters, macs):
    found = cost(ENTRIES[name](outputs=outputs, **options), (1, *example))
    assert found.parameters == parameters
    assert macs in (0, found.macs)


# millions of parameters, as their papers round them
ROUNDED = {
    "densenet100_12": 7.0,
    "densenet100_24": 27.2,
    "densenet_bc190_40": 25.6,
    "densenet_bc250_24": 15.3,
    "wrn16_4": 2.7,
    "wrn16_8": 11.0,
    "wrn28_2": 1.5,
    "wrn40_2": 2.2,
    "wrn40_4": 8.9,
    "all_cnn_a": 1.28,
    "all_cnn_b": 1.35,
    "conv_pool_cnn_a": 1.28,
    "conv_pool_cnn_b": 1.35,
    "conv_pool_cnn_c": 1.4,
}


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("wrn16_4", "all_cnn_a", "conv_pool_cnn_a") else pytest.param(name, marks=pytest.mark.proofs)
        for name in ROUNDED
    ],
)
def test_the_other_variants_are_as_large_as_their_papers_say(name):
    found = cost(ENTRIES[name](outputs=10), (1, *SMALL))
    assert found.parameters / 1e6 == pytest.approx(ROUNDED[name], rel=0.04)


def test_the_lenet_of_1998_has_340_908_connections():
    layers = {layer.path: layer for layer in cost(ENTRIES["lenet5_1998"](outputs=10), (1, 28, 28, 1)).layers}
    c3 = (25 * 60 + 16) * 100  # the sparse table of C3 stands in a dense kernel here
    subsampling = sum(5 * math.prod(layers[name].shape) for name in ("s2", "s4"))
    dense = sum(layers[name].macs for name in ("c1", "c5", "f6")) + 6 * 28 * 28 + 120 + 84
    assert dense + c3 + subsampling + 10 * 84 == 340_908
