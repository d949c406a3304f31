"""What bounds a net's speed, layer by layer: multiplies, or the bytes that they take; and what XLA says of it."""

import dataclasses
import math
import re
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.analysis import _jaxprs
from cnnjax.annotations import AtLeastOne, Positive
from cnnjax.config import mode
from cnnjax.ops import compiler_options
from cnnjax.refusals import refuse_misfits

__all__ = [
    "CompiledCost",
    "LayerWork",
    "MachineLimits",
    "Roofline",
    "compiled_cost",
    "machine_limits",
    "roofline_of",
]


@dataclasses.dataclass(frozen=True)
class MachineLimits:
    """What a device does at best: floating-point operations a second, and bytes a second to and from its memory."""

    flops: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """The intensity, operations a byte, from which on it is the operations that take the time."""
        return self.flops / self.bandwidth


def machine_limits(
    *, side: AtLeastOne = 1024, megabytes: AtLeastOne = 64, runs: AtLeastOne = 5, precision: str = "float32"
) -> MachineLimits:
    """The limits of the default device, measured: a product of two matrices `side`², and a + 2 · b of long arrays.

    Each is the fastest of so many runs. The arrays must be larger than the caches for it to be the memory that is
    measured; what others do on the machine lowers both.
    """
    refuse_misfits(machine_limits, {"side": side, "megabytes": megabytes, "runs": runs})
    options, dtype = compiler_options(jax.default_backend()), jnp.dtype(precision)
    count = megabytes * 2**20 // dtype.itemsize
    numbers = np.random.default_rng(0)
    a, b = (jnp.asarray(numbers.random((side, side), np.float32), dtype) for _ in range(2))
    x, y = (jnp.asarray(numbers.random(count, np.float32), dtype) for _ in range(2))
    product = jax.jit(lambda a, b: a @ b, compiler_options=options)
    triad = jax.jit(lambda x, y: x + 2 * y, compiler_options=options)
    return MachineLimits(
        2.0 * side**3 / _fastest(lambda: product(a, b), runs),
        3.0 * count * dtype.itemsize / _fastest(lambda: triad(x, y), runs),
    )


def _fastest(run: Callable, runs: int) -> float:
    run().block_until_ready()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        run().block_until_ready()
        times.append(time.perf_counter() - began)
    return min(times)


@dataclasses.dataclass(frozen=True)
class LayerWork:
    """One layer: its path, multiply-accumulates, and the bytes that its products read and write."""

    path: str
    macs: int
    bytes: int

    @property
    def intensity(self) -> float:
        """Operations a byte: 2 · macs / bytes."""
        return 2 * self.macs / self.bytes if self.bytes else 0.0


@dataclasses.dataclass(frozen=True)
class Roofline:
    """The layers of a net that multiply, and the limits of a machine."""

    layers: tuple[LayerWork, ...]
    limits: MachineLimits

    def seconds(self, layer: LayerWork) -> float:
        """What a layer takes at least: its operations or its bytes, whichever take longer."""
        return max(2 * layer.macs / self.limits.flops, layer.bytes / self.limits.bandwidth)


def roofline_of(
    net: nn.Module, shape: tuple[int, ...], limits: MachineLimits, *, bytes_per_number: Positive = 4
) -> Roofline:
    """The work of each layer of `net`, in evaluation, for an input of this shape, batch included, under `limits`.

    Bytes are those of a product's operands and its result, each once: what a layer takes when nothing is kept in caches
    from one layer to the next. The net is traced, not run.
    """
    refuse_misfits(roofline_of, {"bytes_per_number": bytes_per_number})
    net, image = _jaxprs.unrolled(net), jax.ShapeDtypeStruct(shape, jnp.float32)
    variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, **mode(net, False)), image)
    shapes: dict = {}
    with _jaxprs.marked(shapes):
        traced = jax.make_jaxpr(lambda variables, x: net.apply(variables, x, **mode(net, False)))(variables, image)
    macs, numbers = {}, {}
    for equation, path, times in _jaxprs.walk(traced.jaxpr):
        if products := _jaxprs.products(equation):
            macs[path] = macs.get(path, 0) + times * products
            touched = sum(math.prod(value.aval.shape) for value in (*equation.invars, *equation.outvars))
            numbers[path] = numbers.get(path, 0) + times * touched
    order = [path for path in shapes if path in macs] + [path for path in macs if path not in shapes]
    return Roofline(tuple(LayerWork(path, macs[path], int(numbers[path] * bytes_per_number)) for path in order), limits)


@dataclasses.dataclass(frozen=True)
class CompiledCost:
    """What XLA says of a compiled program; bytes of its `arguments`, `outputs` and what it holds meanwhile (`held`).

    `accessed` are the bytes that its operations read and write, `fusions` how many loops it became, `seconds` how long
    it took to compile. NaN, or 0, is what a backend does not say.
    """

    flops: float
    accessed: float
    arguments: int
    outputs: int
    held: int
    fusions: int
    seconds: float


def compiled_cost(function: Callable, *arguments: Any) -> CompiledCost:
    """What XLA counts in `function(*arguments)`, of arrays or their shapes; compiled, not run.

    Without oneDNN, whose convolutions are calls into a library in which XLA counts nothing. XLA leaves out what `cost`
    counts: products with the zeros of a border.
    """
    began = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - began
    found = compiled.cost_analysis()
    counted = (found[0] if found else {}) if isinstance(found, list | tuple) else found or {}
    memory = compiled.memory_analysis()

    def size(name):
        return int(getattr(memory, f"{name}_size_in_bytes", 0) or 0)

    return CompiledCost(
        flops=float(counted.get("flops", math.nan)),
        accessed=float(counted.get("bytes accessed", math.nan)),
        arguments=size("argument"),
        outputs=size("output"),
        held=size("temp"),
        fusions=len(re.findall(r"\bfusion\(", compiled.as_text() or "")),
        seconds=seconds,
    )
