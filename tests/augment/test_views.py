"""Test-time views: what is seen, what is averaged, and what is mapped back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.augment import views

IMAGE = np.random.default_rng(0).random((2, 8, 10, 3)).astype(np.float32)


def seen(names, options={}, image=IMAGE):  # noqa: B006
    """Every view's image, by a prediction that keeps it."""
    shown = []
    looked = [views.View(1.0, lambda x: x, lambda x: x)]
    for name in names:
        looked = views._both(looked, lambda view, size, name=name: views._named(name, size, options), image.shape[1:3])
    for view in looked:
        shown.append((view.weight, np.asarray(view.look(image))))
    return shown


def test_weights_of_all_views_add_up_to_one():
    for names in (("mirror",), ("shifts", "mirror"), ("five_crop",), ("ten_crop",), ("scales", "mirror")):
        assert sum(w for w, _ in seen(names, {"five_crop": {"side": 6}, "ten_crop": {"side": 6}})) == pytest.approx(1)


def test_ten_crops_are_four_corners_the_middle_and_their_mirrors():
    crops = [image for _, image in seen(("ten_crop",), {"ten_crop": {"side": 6}})]
    assert len(crops) == 10
    for (y, x), pair in zip([(0, 0), (0, 4), (2, 0), (2, 4), (1, 2)], range(0, 10, 2), strict=True):
        wanted = IMAGE[:, y : y + 6, x : x + 6]
        np.testing.assert_array_equal(crops[pair], wanted)
        np.testing.assert_array_equal(crops[pair + 1], wanted[:, :, ::-1])


def test_shifts_are_the_speed_recipes():
    (half, same), (_, left), (_, right) = seen(("shifts",))
    padded = np.pad(IMAGE, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    assert half == 0.5
    np.testing.assert_array_equal(same, IMAGE)
    np.testing.assert_array_equal(left, padded[:, :8, :10])
    np.testing.assert_array_equal(right, padded[:, 2:, 2:])


def test_probabilities_are_averaged_and_stand_in_for_logits():
    weights = np.random.default_rng(1).normal(size=(10 * 8 * 3, 4)).astype(np.float32)

    def predict(x):
        return x.reshape(len(x), -1) @ weights

    out = jax.jit(lambda x: views.averaged(predict, x, ("mirror",), {}))(IMAGE)
    wanted = (jax.nn.softmax(predict(IMAGE)) + jax.nn.softmax(predict(IMAGE[:, :, ::-1]))) / 2
    np.testing.assert_allclose(jax.nn.softmax(out), wanted, atol=1e-5)
    plain = jax.jit(lambda x: views.averaged(predict, x, ("mirror",), {}, of="outputs"))(IMAGE)
    np.testing.assert_allclose(plain, (predict(IMAGE) + predict(IMAGE[:, :, ::-1])) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("names", [("mirror",), ("shifts", "mirror"), ("ten_crop",), ("five_crop", "mirror")])
def test_dense_outputs_are_mapped_back_to_where_they_were_seen(names):
    """A prediction that answers with the image itself gives the image, whatever the views."""
    options = {"ten_crop": {"side": 7}, "five_crop": {"side": 7}}
    image = IMAGE[:, :, :8] if "shifts" not in names else IMAGE
    out = jax.jit(lambda x: views.averaged(lambda view: view, x, names, options, of="outputs", dense=True))(image)
    covered = np.isfinite(out)
    assert covered.mean() > 0.7
    np.testing.assert_allclose(np.asarray(out)[covered], image[covered], atol=1e-5)


def test_smaller_and_larger_views_of_a_smooth_image_come_back_to_its_size():
    y, x = np.meshgrid(np.linspace(0, 1, 16), np.linspace(0, 1, 20), indexing="ij")
    image = np.stack([y, x], -1)[None].astype(np.float32)
    out = jax.jit(lambda x: views.averaged(lambda v: v, x, ("scales", "mirror"), {}, of="outputs", dense=True))(image)
    assert out.shape == image.shape
    np.testing.assert_allclose(out[:, 2:-2, 2:-2], image[:, 2:-2, 2:-2], atol=0.01)


@pytest.mark.parametrize("names", [("tiles",), ("tiles", "mirror")])
def test_tiles_are_put_together_to_what_the_whole_image_gives(names):
    """A net of valid convolutions on tiles is what it is on the mirrored image; so is one that keeps the size."""
    kernel = np.random.default_rng(2).normal(size=(5, 5, 3, 4)).astype(np.float32)
    kernel += kernel[:, ::-1]  # a mirror then changes nothing

    def convolved(x, padding):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    whole = convolved(np.pad(IMAGE, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect"), "VALID")
    options = {"tiles": {"side": 4, "margin": 2}}  # of 8×10 pixels: the last tiles hang over
    for padding in ("VALID", "SAME"):
        tiled = jax.jit(
            lambda x, padding=padding: views.averaged(
                lambda view: convolved(view, padding), x, names, options, of="outputs", dense=True
            )
        )
        np.testing.assert_allclose(tiled(IMAGE), whole, rtol=1e-5, atol=1e-5)


def test_views_of_one_shape_trace_the_network_once():
    traces = []

    def predict(x):
        traces.append(x.shape)
        return jnp.mean(x, (1, 2))

    jax.eval_shape(lambda x: views.averaged(predict, x, ("scales", "shifts", "mirror"), {}), IMAGE)
    assert len(traces) == 3


def test_mistakes_in_views_are_named():
    with pytest.raises(ValueError, match=r"eval.views is 'miror'; nearest: mirror"):
        views.averaged(lambda x: x, IMAGE, ("miror",), {})
    with pytest.raises(ValueError, match=r"eval.views: a crop of side 9 does not fit an image of 8×10 pixels"):
        views.averaged(lambda x: x, IMAGE, ("five_crop",), {"five_crop": {"side": 9}})
    with pytest.raises(ValueError, match=r"an image of 8×10 pixels can't be mirrored by a margin of 8"):
        views.averaged(lambda x: x, IMAGE, ("tiles",), {"tiles": {"side": 4, "margin": 8}}, dense=True)
    with pytest.raises(
        ValueError, match=r"tiles are put together to a map \(B, H, W, K\), which these outputs are not"
    ):
        views.averaged(lambda x: x, IMAGE, ("tiles",), {})
    with pytest.raises(ValueError, match=r"the net gives a map of 3×5 for a tile of 4; it must be as large, or larger"):
        views.averaged(lambda x: x[:, 5:, 3:], IMAGE, ("tiles",), {"tiles": {"side": 4, "margin": 2}}, dense=True)
    with pytest.raises(ValueError, match=r"eval.views: of is 'logits'; allowed: outputs, probabilities"):
        views.averaged(lambda x: x, IMAGE, ("mirror",), {}, of="logits")
