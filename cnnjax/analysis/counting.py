"""What a network costs, layer by layer, without running anything."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax.analysis import _jaxprs
from cnnjax.config import mode

__all__ = ["Cost", "LayerCost", "cost", "multiplies"]


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """One layer: its path in the parameters, its kind, the shape of its output, trainable numbers and multiplies."""

    path: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """The layers of a net and their sums; printed, it is a table."""

    layers: tuple[LayerCost, ...]
    parameters: int
    macs: int
    values: int
    """Numbers in the outputs of all layers: what a training step has to keep, about."""

    def __str__(self):
        rows = [("layer", "kind", "output", "parameters", "MACs")]
        rows += [
            (layer.path, layer.kind, "×".join(map(str, layer.shape)), f"{layer.parameters:,}", f"{layer.macs:,}")
            for layer in self.layers
        ]
        rows.append(("total", "", "", f"{self.parameters:,}", f"{self.macs:,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join(f"{cell:{'<' if i < 3 else '>'}{widths[i]}}" for i, cell in enumerate(row)) for row in rows]
        rule = "─" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def cost(net: nn.Module, shape: tuple[int, ...], *, train: bool = False, dtype: str = "float32") -> Cost:
    """Parameters and multiply-accumulates of `net` for an input of this shape (batch included), by layer and in sum.

    MACs are the multiplies of convolutions and dense layers alone, padding's zeros included. With `train` those of the
    training mode (auxiliary heads run). What it reads is of a `dtype`: tokens are "int32". Nothing is computed: the net
    is traced.
    """
    net = _jaxprs.unrolled(net)
    image = jax.ShapeDtypeStruct(shape, jnp.dtype(dtype))
    key = jax.eval_shape(lambda: jax.random.key(0))
    variables = jax.eval_shape(lambda key, x: net.init(key, x, **mode(net, False)), key, image)
    shapes = {}

    def run(variables, x, key):
        streams = {"noise": key, "dropout": key}
        return net.apply(variables, x, rngs=streams, mutable=["batch_stats"], **mode(net, train))

    with _jaxprs.marked(shapes):
        jaxpr = jax.make_jaxpr(run)(variables, image, key)
    owned = _owned(variables.get("params", {}))
    macs = dict.fromkeys(owned, 0)
    for equation, path, times in _jaxprs.walk(jaxpr.jaxpr):
        if path in macs:  # a product in a layer without parameters is no layer's: resizing, say
            macs[path] += times * _jaxprs.products(equation)
    order = [path for path in shapes if path in owned] + [path for path in owned if path not in shapes]
    layers = tuple(LayerCost(path, *shapes.get(path, ("", ())), owned[path], macs[path]) for path in order)
    values = sum(math.prod(layer.shape) for layer in layers)
    return Cost(layers, sum(owned.values()), sum(macs.values()), values)


def multiplies(function: Callable, *arguments) -> int:
    """Multiply-accumulates of all convolutions and products in `function(*arguments)`, gradients included; traced."""
    jaxpr = jax.make_jaxpr(function)(*arguments)
    return sum(times * _jaxprs.products(equation) for equation, _, times in _jaxprs.walk(jaxpr.jaxpr))


def _owned(params: Mapping, path: tuple[str, ...] = ()) -> dict[str, int]:
    """The number of parameters that stand directly in each module, by path."""
    own = sum(math.prod(leaf.shape) for leaf in params.values() if not isinstance(leaf, Mapping))
    counts = {"/".join(path): own} if own else {}
    for name, leaf in params.items():
        if isinstance(leaf, Mapping):
            counts |= _owned(leaf, (*path, name))
    return counts
