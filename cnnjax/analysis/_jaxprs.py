"""Walking through the equations of a traced function with the layer that each belongs to."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator

import flax.linen as nn
import jax

from cnnjax import _versions

_MARK = "layer:"
# the primitives of `ops.conv` and its derivatives, with the places of x and the kernel among operands and result
_CONVOLUTIONS = {"conv_output": (0, 1), "conv_input": (2, 0), "conv_kernel": (0, 2)}


@contextlib.contextmanager
def marked(shapes: dict):
    """Names every module's path in the scopes of its equations, and notes the shape of what each module gives."""

    def interceptor(call, args, kwargs, context):
        if context.method_name != "__call__" or not context.module.path:
            return call(*args, **kwargs)
        path = "/".join(context.module.path)
        with jax.named_scope(_MARK + path.replace("/", ".")):
            out = call(*args, **kwargs)
        if hasattr(out, "shape"):
            shapes.setdefault(path, (type(context.module).__name__, tuple(out.shape)))
        return out

    with nn.intercept_methods(interceptor):
        yield


def unrolled(net: nn.Module) -> nn.Module:
    """The net with its blocks one by one, where it would run them as a loop in which layers lose their paths."""
    changes = {}
    for field in dataclasses.fields(net):
        value = getattr(net, field.name, None)
        if field.name == "stack" and value is True:
            changes["stack"] = False
        elif isinstance(value, nn.Module) and field.name not in ("parent", "name"):
            changes[field.name] = unrolled(value)
    return net.clone(**changes) if changes else net


def walk(jaxpr, path: str = "", times: int = 1) -> Iterator[tuple]:
    """Every innermost equation with its layer's path and how often it runs (a loop of unknown length counts once)."""
    for equation in jaxpr.eqns:
        here = _path(equation) or path
        parts = [part for part, _ in _versions.inner_jaxprs(equation)]
        if not parts:
            yield equation, here, times
            continue
        if equation.primitive.name == "cond":  # one branch runs; the longest counts
            parts = [max(parts, key=lambda part: len(part.eqns))]
        often = times * equation.params.get("length", 1) if equation.primitive.name == "scan" else times
        for part in parts:
            yield from walk(part, here, often)


def _path(equation) -> str:
    marks = [scope.partition(_MARK)[2].rstrip(")") for scope in _versions.scopes(equation) if _MARK in scope]
    return marks[-1].replace(".", "/") if marks else ""


def products(equation) -> int:
    """The multiplies of an equation where it is a convolution or a matrix product, otherwise 0."""
    name = equation.primitive.name
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        lhs = equation.invars[0].aval.shape
        return math.prod(equation.outvars[0].aval.shape) * math.prod(lhs[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        outputs = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // outputs
    if name not in _CONVOLUTIONS:
        return 0
    geometry = equation.params["geometry"]
    arrays = [value.aval.shape for value in (*equation.invars, *equation.outvars)]
    x, kernel = (arrays[i] for i in _CONVOLUTIONS[name])
    return math.prod(kernel) * math.prod(geometry.places) * x[-geometry.n - 2]
