"""Pipelines: names, options, errors, the batch as a whole, any number of devices."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from cnnjax.augment import compose, find
from tests.augment.scenes import CLASSES, applied, batch, facts, floats


def test_a_name_is_an_entry_with_or_without_a_number_or_an_import_path():
    assert find("rotate") is find("rotate#2") is find("cnnjax.augment.moves:rotate")


FIVE = "allowed: auto, constant, edge, mean, reflect"
KINDS, TWO = "size or colors or example or batch", "allowed: bilinear, cubic"
ONLY = "has only 16×16 pixels"
EIGHT = "it must be 1 to the 8 examples of a device"
HAS = "the batch has epoch, image, index, label, valid"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("rotat",), {}, "augment has no entry 'rotat'; did you mean 'rotate'?"),
        (("zoom",), {"zoom": {"factr": 3.0}}, "augment.zoom.factr is no option of zoom; did you mean 'factor'?"),
        (("json:loads",), {}, f"augment 'json:loads' must be a function of (key, facts, {KINDS}, ...)"),
        (
            ("crop", "rotate"),
            {"crop": {"border": "reflect"}, "rotate": {"border": "constant"}},
            "augment.crop.border is 'reflect' and augment.rotate.border is 'constant'; "
            "moves that are read together need one border",
        ),
        (("normalize", "hue"), {}, "augment: 'hue' works on colours in [0, 1]; name it before 'normalize'"),
        (("crop",), {"crop": {"border": "x"}}, f"augment.crop.border is 'x'; {FIVE}"),
        (("zoom",), {"zoom": {"method": "linear"}}, f"augment.zoom.method is 'linear'; nearest: bilinear; {TWO}"),
        (("flip",), {"flip": {"mode": "odd"}}, "augment.flip.mode is 'odd'; allowed: alternate, random"),
        (("center_crop",), {}, f"augment.center_crop.side is 224; the image {ONLY}"),
        (("crop",), {"crop": {"side": 30, "padding": 2}}, f"augment.crop.side is 30; the image padded by 2 {ONLY}"),
        (("blur",), {"blur": {"window": 4}}, "augment.blur.window is 4; it must be odd and positive"),
        (("erase",), {"erase": {"content": "zero"}}, "augment.erase.content is 'zero'; allowed: constant, mean, noise"),
        (("series_mask",), {}, f"augment.series_mask needs `series`; {HAS}"),
        (("temporal_crop",), {}, f"augment.temporal_crop needs `video` or `series`; {HAS}"),
        (("repeat",), {"repeat": {"times": 9}}, f"augment.repeat.times is 9; {EIGHT}"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_config_path(names, options, message):
    with pytest.raises(ValueError, match="augment") as error:
        jax.eval_shape(lambda fields: compose(facts(), names, options)(jax.random.key(0), fields), batch())
    assert str(error.value) == message


def test_a_channel_that_is_the_same_everywhere_is_refused_before_it_is_divided_by():
    about = replace(facts(), mean=(0.5, 0.3, 0.4), std=(0.2, 1e-9, 0.1))
    with pytest.raises(ValueError, match=r"channel 1 of image is 0.3 throughout the training set; leave that channel"):
        compose(about, ("normalize",), {})
    compose(about, ("flip",), {})


def test_moves_that_are_read_together_take_the_border_that_one_of_them_names():
    names, given = ("crop", "rotate", "zoom"), {"rotate": {"border": "reflect"}}
    together = {name: {"border": "reflect"} for name in names}
    assert np.array_equal(applied(names, batch(), given)["image"], applied(names, batch(), together)["image"])


@pytest.mark.parametrize("before", [(), ("normalize",)])
@pytest.mark.parametrize(("mean", "border"), [(0.8, "edge"), (0.5, "constant")])
def test_dark_on_bright_ground_is_continued_and_anything_else_gets_black(mean, border, before):
    """By default; black is the mean where numbers are normalised."""
    about, fields = facts(mean=(mean,) * 3), {"image": batch()["image"]}
    out, named = (applied((*before, "shift"), fields, {"shift": {"pixels": 4, **more}}, about=about)["image"]
                  for more in ({}, {"border": border}))  # fmt: skip
    assert np.array_equal(out, named)


def test_mixing_without_labels_is_refused():
    fields = {"image": batch()["image"]}
    with pytest.raises(ValueError, match=r"augment.mixup needs `label` or `target`; the batch has image"):
        jax.eval_shape(lambda fields: compose(facts(), ("mixup",), {})(jax.random.key(0), fields), fields)


def test_nothing_named_makes_bytes_floats_and_nothing_else():
    fields = batch()
    out = applied((), fields)
    assert out["image"].dtype == np.float32
    assert np.array_equal(out["image"], floats(fields["image"]))
    assert all(np.array_equal(out[name], fields[name]) for name in fields if name != "image")


def test_two_uses_of_an_entry_draw_apart_and_have_options_of_their_own():
    fields = batch()
    still = {"rotate": {"strength": 0.0}}
    one = applied(("rotate", "rotate#2"), fields, still)
    two = applied(("rotate#2",), fields)
    np.testing.assert_allclose(one["image"], two["image"], atol=1e-6)
    assert not np.array_equal(two["image"], applied(("rotate",), fields)["image"])


def test_an_example_draws_by_its_place_in_the_batch_whatever_stands_beside_it():
    fields = batch(rows=8)
    names = ("rotate", "cutout")
    few = {name: value[:4] for name, value in fields.items()}
    np.testing.assert_allclose(applied(names, few)["image"], applied(names, fields)["image"][:4], atol=1e-6)


def test_mixup_draws_each_row_towards_the_one_before_it():
    fields = batch()
    out = applied(("mixup",), fields, {"mixup": {"alpha": 1.0}})
    image, hot = floats(fields["image"]), np.eye(CLASSES)[fields["label"]]
    other, partner = np.roll(image, 1, 0), np.roll(hot, 1, 0)
    share = ((out["image"] - image) * (other - image)).sum((1, 2, 3)) / ((other - image) ** 2).sum((1, 2, 3))
    assert (share >= 0).all()
    assert (share <= 1).all()
    assert share.std() > 0.1
    np.testing.assert_allclose(out["image"], image + share[:, None, None, None] * (other - image), atol=1e-5)
    np.testing.assert_allclose(out["target"], hot + share[:, None] * (partner - hot), atol=1e-5)


@pytest.mark.parametrize("name", ["cutmix", "mix"])
def test_targets_say_how_much_of_the_partner_is_seen(name):
    rows = 64
    fields = batch(rows=rows)
    fields["image"] = np.repeat(np.arange(rows, dtype=np.uint8)[:, None], 16 * 16 * 3, 1).reshape(rows, 16, 16, 3)
    fields["label"] = (np.arange(rows) % CLASSES).astype(np.int32)
    out = applied((name,), fields)
    own = np.arange(rows) / 255
    before = np.roll(own, 1)
    seen = ((out["image"] - own[:, None, None, None]) / (before - own)[:, None, None, None]).mean((1, 2, 3))
    np.testing.assert_allclose(out["target"].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(1 - out["target"][np.arange(rows), fields["label"]], seen, atol=2e-3)
    assert 0.1 < seen.mean() < 0.6


def test_cutmix_pastes_segments_along():
    fields = batch()
    fields["segments"] = np.repeat(np.arange(8, dtype=np.int32), 256).reshape(8, 16, 16)
    fields["image"] = np.repeat(fields["segments"][..., None], 3, -1).astype(np.uint8)
    out = applied(("cutmix",), fields)
    assert np.array_equal(np.round(out["image"][..., 0] * 255), out["segments"])
    assert (out["segments"] != fields["segments"]).any()


def test_repeated_examples_are_augmented_apart():
    fields = batch()
    out = applied(("repeat", "flip"), fields, {"repeat": {"times": 4}})
    assert out["index"].tolist() == [100] * 4 + [104] * 4
    assert len({row.tobytes() for row in out["image"][:4]}) == 2


NAMES = ("repeat", "rotate", "flip", "normalize", "mixup")
DEVICES = {"repeat": {"times": 3}, "flip": {"mode": "alternate"}}


@pytest.mark.parametrize("devices", [pytest.param(2, marks=pytest.mark.proofs), 8])
def test_any_number_of_devices_gives_the_same_batch(devices):
    fields = batch(rows=32)

    def run(key, fields):
        return compose(facts(), NAMES, DEVICES)(key, fields)

    alone = jax.jit(run)(jax.random.key(0), fields)
    mesh = Mesh(np.array(jax.devices()[:devices]), ("batch",))
    rows, all_alike = PartitionSpec("batch"), PartitionSpec()
    shared = jax.jit(jax.shard_map(run, mesh=mesh, in_specs=(all_alike, rows), out_specs=rows, check_vma=False))
    together = shared(jax.random.key(0), fields)
    for name in alone:
        np.testing.assert_allclose(together[name], alone[name], atol=2e-5, err_msg=name)


def test_strengths_may_differ_along_a_mapped_axis():
    fields = batch(rows=4)
    names = ("crop", "rotate", "brightness")

    def run(strength):
        options = {name: {"strength": strength} for name in names}
        return compose(facts(), names, options)(jax.random.key(0), fields)["image"]

    many = np.asarray(jax.jit(jax.vmap(run))(np.array([0.0, 1.0], np.float32)))
    np.testing.assert_array_equal(many[0], floats(fields["image"]))
    np.testing.assert_allclose(many[1], jax.jit(run)(1.0), atol=1e-5)


def test_double_precision_stays_double():
    with jax.enable_x64(True):
        out = jax.jit(lambda fields: compose(facts(), ("rotate", "hue"), {})(jax.random.key(0), fields))(batch())
    assert out["image"].dtype == np.float64


TINT = """
from dataclasses import replace

import jax
from cnnjax.annotations import Elementwise, Share

def tint(key, facts, colors, strength, *, most: Share = 0.2):
    return colors * (1 - most * strength * jax.random.uniform(key, (3,)).astype(colors.dtype))

def darken(key, facts, colors: Elementwise[jax.Array], strength, *, most: Share = 0.2):
    return colors * (1 - most * strength)
"""


@pytest.fixture
def tint(tmp_path, monkeypatch):
    """A module of the user's own with two colour functions."""
    (tmp_path / "my_washes.py").write_text(TINT)
    monkeypatch.syspath_prepend(tmp_path)
    return "my_washes:tint"


def test_a_users_colours_are_gathered_past_moves_like_ours(tint):
    fields = batch()

    def program(*names):
        return str(jax.make_jaxpr(lambda fields: compose(facts(), names, {})(jax.random.key(0), fields))(fields))

    once = program("rotate", "zoom").count("gather[")
    assert program("rotate", tint, "zoom").count("gather[") == program("rotate", "hue", "zoom").count("gather[") == once
    written = {
        name: program("rotate", name).rpartition("optimization_barrier")[2] for name in (tint, "my_washes:darken")
    }
    assert " mul " in written[tint], "a colour of several numbers reads the picture as it is written down"
    assert " mul " not in written["my_washes:darken"], "what is elementwise is done while it is written"


def test_a_users_colours_change_pictures_and_all_frames_of_a_video_alike(tint):
    fields = batch("temporal_crop")
    out = applied((tint,), fields, about=facts())
    share = out["video"][fields["video"] > 0] / floats(fields["video"])[fields["video"] > 0]
    assert 0.8 <= share.min() < share.max() <= 1 + 1e-6
    assert np.array_equal(applied((tint,), batch(), {tint: {"strength": 0.0}})["image"], floats(batch()["image"]))


def test_a_users_colours_are_refused_after_normalize(tint):
    with pytest.raises(ValueError, match="augment: 'my_washes:tint' works on colours in") as error:
        compose(facts(), ("normalize", tint), {})
    assert str(error.value).endswith("name it before 'normalize'")


def test_words_and_bounds_hold_where_a_pipeline_is_made_without_a_config(tint):
    with pytest.raises(ValueError, match=r"my_washes:tint\.most is 1\.5; it must be ≥ 0 and ≤ 1"):
        compose(facts(), (tint,), {tint: {"most": 1.5}})
