"""Networks as programs that run without this project: StableHLO by jax.export, and ONNX by jax2onnx.

Weights are constants of the program; its one input is a batch of any size.
"""

import contextlib
import importlib
import io
import logging
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export, lax

from cnnjax import _versions

__all__ = ["ExportError", "as_onnx", "as_stablehlo"]

PLATFORMS = ("cpu", "cuda", "tpu")
_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint")
_NOTHING = ("optimization_barrier", "copy", "copy_p", "reshard", "stop_gradient")  # for XLA or for gradients alone


class ExportError(ValueError):
    """A function that can't be written in the form that was asked for."""

    exit_code = 2


def as_stablehlo(
    function: Callable, shape: Sequence[int], dtype: Any, *, platforms: Sequence[str] = PLATFORMS
) -> bytes:
    """`function` of a batch (b, *shape), b open, as `jax.export.deserialize` reads it, for all of the platforms.

    Whoever has JAX and flatbuffers runs it: `jax.export.deserialize(bytes).call(inputs)`.
    """
    unknown = [name for name in platforms if name not in (*PLATFORMS, "rocm")]
    if unknown or not platforms:
        raise ExportError(f"platforms has {unknown[:1] or 'nothing'}; choose from {', '.join((*PLATFORMS, 'rocm'))}")
    _needs("flatbuffers", "export")
    try:
        exported = export.export(jax.jit(function), platforms=tuple(platforms))(_example(shape, dtype))
    except MemoryError:
        raise
    except Exception as error:  # the refusals of other packages have no class of their own
        raise ExportError(f"jax.export has no form for a batch of any size: {_first_line(error)}") from error
    return bytes(exported.serialize())


def as_onnx(function: Callable, shape: Sequence[int], dtype: Any) -> bytes:
    """`function` of a batch (b, *shape), b open, as an ONNX model with an output for each array of its dict."""
    to_onnx = _needs("jax2onnx", "onnx").to_onnx

    # traced before the converter puts its own functions in the place of JAX's
    traced, found = jax.make_jaxpr(function, return_shape=True)(_example(shape, dtype))

    def plain(inputs):
        return tuple(_run(traced.jaxpr, traced.consts, [inputs], inputs.shape[0]))

    inputs = types.SimpleNamespace(shape=("b", *shape), dtype=np.dtype(dtype))
    try:
        with contextlib.redirect_stdout(io.StringIO()), _quiet():  # it thinks aloud
            model = to_onnx(plain, [inputs], model_name="cnnjax", input_names=["inputs"], output_names=sorted(found))
    except MemoryError:
        raise
    except Exception as error:  # the refusals of other packages have no class of their own
        raise ExportError(f"ONNX has no form for this network: {_first_line(error)}") from error
    return model.SerializeToString()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _needs(package: str, extra: str):
    """A package that an extra brings."""
    try:
        with _quiet():
            return importlib.import_module(package)
    except ImportError:
        raise ExportError(f"this needs {package}, which is not installed: pip install 'cnnjax[{extra}]'") from None


@contextlib.contextmanager
def _quiet():
    """Without the warnings and the log of other packages."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def _example(shape: Sequence[int], dtype: Any) -> jax.ShapeDtypeStruct:
    """A batch whose size is open."""
    return jax.ShapeDtypeStruct((*export.symbolic_shape("b"), *shape), dtype)


def _run(jaxpr, constants, arguments, batch) -> list:
    """What a jaxpr gives, computed by operations that converters know, and without what is not needed for it.

    Convolutions are lax's, paddings concatenations; `batch` stands for the open size.
    """
    values = dict(zip(jaxpr.constvars, constants, strict=True)) | dict(zip(jaxpr.invars, arguments, strict=True))

    def read(atom):
        return atom.val if hasattr(atom, "val") else values[atom]

    for equation in _needed(jaxpr):
        operands, name = [read(atom) for atom in equation.invars], equation.primitive.name
        if name in _CALLS:
            inner, constants = next(_versions.inner_jaxprs(equation))  # that of the function; its rules are none
            results = _run(inner, constants, operands, batch)
        elif name in _NOTHING:
            results = operands
        elif name in _PLAIN:
            results = [_PLAIN[name](*operands, **equation.params)]
        elif name in _WIDE:
            results = [_WIDE[name](*operands)]
        else:
            params = {key: _closed(value, batch) for key, value in equation.params.items()}
            results = equation.primitive.bind(*operands, **params)
            results = results if equation.primitive.multiple_results else [results]
        values.update(zip(equation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _closed(value: Any, batch: Any) -> Any:
    """A parameter of an operation with a size in the place of the open one."""
    if type(value) is tuple:
        return tuple(_closed(each, batch) for each in value)
    return batch if export.is_symbolic_dim(value) and str(value) == "b" else value


def _needed(jaxpr) -> list:
    """The equations whose results are used."""
    used, kept = set(filter(_variable, jaxpr.outvars)), []
    for equation in reversed(jaxpr.eqns):
        if used.intersection(equation.outvars) or _versions.has_effects(equation):
            kept.append(equation)
            used.update(filter(_variable, equation.invars))
    return kept[::-1]


def _variable(atom) -> bool:
    return not hasattr(atom, "val")


def _convolution(x, kernel, *, geometry):
    """`ops.conv` by lax, in two dimensions where it has one."""
    if geometry.n == 1:
        two = {"stride": (1, *geometry.stride), "padding": ((0, 0), *geometry.padding)}
        two |= {"dilation": (1, *geometry.dilation), "groups": geometry.groups}
        return jnp.squeeze(_lax(jnp.expand_dims(x, 1), kernel[None], **two), 1)
    options = {name: getattr(geometry, name) for name in ("stride", "padding", "dilation", "groups")}
    return _lax(x, kernel, **options)


def _lax(x, kernel, *, stride, padding, dilation, groups):
    if x.ndim == 5:
        return _frame_by_frame(x, kernel, stride, padding, dilation, groups)
    return lax.conv_general_dilated(
        x, kernel, stride, padding, rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


def _frame_by_frame(x, kernel, stride, padding, dilation, groups):
    """A convolution of video as the sum of those of pictures, one for each place of the window in time.

    jax2onnx has no form for three dimensions.
    """
    (step, *stride), (edges, *padding), (apart, *dilation) = stride, padding, dilation
    x = _padded(x, np.zeros((), x.dtype), padding_config=[(0, 0, 0), (*edges, 0), *[(0, 0, 0)] * 3])
    frames = (x.shape[1] - (kernel.shape[0] - 1) * apart - 1) // step + 1
    total = 0
    for place in range(kernel.shape[0]):
        first = place * apart
        part = lax.slice_in_dim(x, first, first + (frames - 1) * step + 1, step, axis=1)
        pictures = part.reshape(-1, *part.shape[2:])
        y = _lax(pictures, kernel[place], stride=stride, padding=padding, dilation=dilation, groups=groups)
        total = total + y
    return total.reshape(-1, frames, *total.shape[1:])


def _transposed(kernel, y, *, geometry):
    """`ops.conv_transpose`: a convolution of the array with zeros between its places."""
    dims = (geometry.sizes, geometry.window, geometry.stride, geometry.padding, geometry.dilation, geometry.places)
    edges = []
    for axis, (size, window, stride, (low, _), dilation, places) in enumerate(zip(*dims, strict=True), 1):
        y = _spread(y, axis, stride) if stride > 1 else y
        edges.append(((window - 1) * dilation - low, size + low - (places - 1) * stride - 1))
    n, groups = geometry.n, geometry.groups
    numbers = jnp if _versions.is_traced(kernel) else np
    kernel = numbers.flip(kernel, tuple(range(n)))
    kernel = kernel.reshape(*kernel.shape[:-1], groups, -1)  # (*window, inputs, groups, outputs)
    kernel = numbers.moveaxis(kernel, -1, -3)
    kernel = kernel.swapaxes(-1, -2).reshape(*kernel.shape[: n + 1], -1)
    return _lax(y, kernel, stride=(1,) * n, padding=edges, dilation=geometry.dilation, groups=groups)


def _spread(y, axis, stride):
    """The array with stride - 1 zeros between its places along an axis."""
    places = y.shape[axis]
    one = jnp.expand_dims(y, axis + 1)
    wide = jnp.concatenate([one, *[one * np.zeros((), y.dtype)] * (stride - 1)], axis + 1)
    wide = jnp.reshape(wide, (*y.shape[:axis], places * stride, *y.shape[axis + 1 :]))
    return lax.slice_in_dim(wide, 0, (places - 1) * stride + 1, axis=axis)


def _stacked(*arrays, axis):
    return jnp.concatenate([jnp.expand_dims(each, axis) for each in arrays], axis)


def _padded(x, value, *, padding_config):
    """`lax.pad` without holes, by concatenation: edges are made of the array, whose batch has no size yet."""
    for axis, (low, high, inner) in enumerate(padding_config):
        if inner or low < 0 or high < 0:
            raise ExportError(f"ONNX has no form for padding by {padding_config}")
        edge = lax.slice_in_dim(x, 0, 1, axis=axis)
        edge = jnp.maximum(jnp.minimum(edge, value), value)
        x = jnp.concatenate([edge] * low + [x] + [edge] * high, axis) if low or high else x
    return x


def _selected(which, *cases):
    """`lax.select_n`, whose choices among 16-bit integers onnxruntime does not know."""
    wide = [_widened(case) for case in cases]
    return lax.select_n(which, *wide).astype(cases[0].dtype)


def _equal(a, b):
    return lax.eq(_widened(a), _widened(b))


def _widened(x):
    return lax.convert_element_type(x, np.int32) if x.dtype == np.int16 else x


_PLAIN = {"conv_output": _convolution, "conv_input": _transposed, "pad": _padded, "stack": _stacked}
_WIDE = {"select_n": _selected, "eq": _equal}  # the same operation, on numbers of a size that is known
