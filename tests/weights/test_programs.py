"""Networks as programs: any batch size, every platform, and the same answers elsewhere."""

import importlib.util

import jax
import numpy as np
import pytest

from cnnjax import models, ops, weights
from tests.weights.test_loading import made

ONNX = importlib.util.find_spec("jax2onnx") and importlib.util.find_spec("onnxruntime")
NETS = {
    "resnet": ({"blocks": (1, 1), "width": 4}, (32, 32, 3)),
    "densenet": ({"blocks": (1, 1), "growth": 4, "stem_width": 8}, (32, 32, 3)),
    "mlp": ({"hidden": (8,)}, (4, 4, 1)),
    "unet": ({"width": 4, "depth": 2}, (16, 16, 1)),
    "tdnn": ({}, (40, 4)),
    "video_resnet": ({"blocks": (1, 1), "width": 4, "factored": True}, (4, 16, 16, 3)),
}


def function(name):
    """A net with weights as a function of a batch, and the shape of an example."""
    options, shape = NETS[name]
    net = getattr(models, name)(outputs=3, **options)
    variables = made(net, shape)
    return (lambda x: {"outputs": net.apply(variables, x, train=False)}), shape


@pytest.mark.parametrize("name", ["resnet", "mlp", "unet", "tdnn"])
def test_a_program_answers_as_its_network_for_batches_of_any_size(name):
    answer, shape = function(name)
    program = jax.export.deserialize(weights.as_stablehlo(answer, shape, np.float32))
    assert program.platforms == ("cpu", "cuda", "tpu")
    x = np.random.default_rng(0).random((4, *shape), np.float32)
    wanted = np.asarray(jax.jit(answer)(x)["outputs"])
    for batch in (slice(1), slice(1, 4)):
        np.testing.assert_allclose(program.call(x[batch])["outputs"], wanted[batch], rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not ONNX, reason="jax2onnx and onnxruntime are not installed here")
@pytest.mark.parametrize("name", ["resnet", "densenet", "unet", "tdnn", "video_resnet"])
def test_an_onnx_model_answers_as_its_network_for_batches_of_any_size(name):
    import onnxruntime

    answer, shape = function(name)
    session = onnxruntime.InferenceSession(weights.as_onnx(answer, shape, np.float32))
    for batch in (1, 3):
        x = np.random.default_rng(batch).random((batch, *shape), np.float32)
        wanted = np.asarray(jax.jit(answer)(x)["outputs"])
        (found,) = session.run(["outputs"], {"inputs": x})
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.skipif(bool(ONNX), reason="jax2onnx is installed here")
def test_a_package_that_is_missing_is_named_with_the_command_that_brings_it():
    with pytest.raises(weights.ExportError, match=r"needs jax2onnx, which is not installed: pip install 'cnnjax\[onnx"):
        weights.as_onnx(lambda x: {"y": x}, (2,), np.float32)


@pytest.mark.parametrize("name", ["mlp", "resnet", "unet"])
def test_a_network_in_the_terms_of_converters_is_the_same(name):
    """What the converter is given: lax's convolutions, concatenations for paddings."""
    answer, shape = function(name)
    _same_in_plain_terms(lambda x: answer(x)["outputs"], shape)


@pytest.mark.parametrize("convolution", [ops.conv, ops.conv_transpose])
def test_a_convolution_of_video_in_the_terms_of_converters_is_the_same(convolution):
    kernel = np.random.default_rng(0).random((3, 2, 2, 2, 2)).astype(np.float32)
    options = {"stride": (2, 3, 1), "padding": ((1, 0), (0, 1), (1, 1)), "dilation": (2, 1, 1)}
    _same_in_plain_terms(lambda x: convolution(x, kernel, **options), (7, 5, 4, 2))


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_in_the_terms_of_converters_is_the_same(groups):
    kernel = np.random.default_rng(0).random((3, 2, 3, 4)).astype(np.float32)
    options = {"stride": (2, 3), "padding": ((1, 0), (0, 1)), "dilation": (1, 2), "groups": groups}
    _same_in_plain_terms(lambda x: ops.conv_transpose(x, kernel, **options), (5, 4, 4))


def _same_in_plain_terms(run, shape):
    from cnnjax.weights import programs

    x = np.random.default_rng(1).random((2, *shape), np.float32)
    traced = jax.make_jaxpr(run)(x)
    plain = jax.jit(lambda x: programs._run(traced.jaxpr, traced.consts, [x], 2)[0])
    names = {str(equation.primitive) for equation in jax.make_jaxpr(plain)(x).jaxpr.eqns[0].params["jaxpr"].jaxpr.eqns}
    assert not [name for name in names if name in programs._PLAIN or name in programs._NOTHING]
    np.testing.assert_allclose(plain(x), jax.jit(run)(x), rtol=1e-4, atol=1e-4)


def test_a_platform_that_is_none_is_refused():
    with pytest.raises(weights.ExportError, match=r"platforms has \['gpu'\]; choose from cpu, cuda, tpu, rocm"):
        weights.as_stablehlo(lambda x: x, (2,), np.float32, platforms=("gpu",))


def test_a_function_that_needs_to_know_its_batch_is_refused_with_the_reason():
    with pytest.raises(weights.ExportError, match=r"jax\.export has no form for a batch of any size: "):
        weights.as_stablehlo(lambda x: x if x.shape[0] > 3 else -x, (2,), np.float32)
