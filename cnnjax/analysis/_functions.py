"""What is looked into: a function of images, or a net with its variables, as one argument of compiled programs."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from cnnjax.analysis.rewriting import evaluated
from cnnjax.config import mode
from cnnjax.ops import compiler_options

Answers = Callable[[jax.Array], jax.Array] | tuple[nn.Module, Mapping]
"""A function from images (B, *sizes, C) to outputs (B, K), or a net and its variables, which is one in evaluation."""


@dataclasses.dataclass(frozen=True)
class Evaluating:
    """A net's outputs of variables and images (B, *sizes, C), the first where it gives several."""

    net: nn.Module

    def __call__(self, variables: Mapping, images: jax.Array) -> jax.Array:
        return main(self.net.apply(variables, images, **mode(self.net, False)))


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
    """A traced function of its constants and of images shaped as those that it was traced with."""

    jaxpr: Any

    def __call__(self, constants: list, images: jax.Array) -> jax.Array:
        return evaluated(self.jaxpr, constants, [images])[0]


def main(outputs: Any) -> jax.Array:
    """The outputs, or of several the first."""
    return next(iter(outputs.values())) if isinstance(outputs, Mapping) else outputs


def as_function(f: Answers, images: jax.Array) -> Partial:
    """`f` with all its arrays as leaves: as an argument of a program they are inputs of it, not constants in it.

    XLA folds gradients of constant kernels while it compiles, for minutes. What a plain function closes over is found
    by tracing it with these images, so that its program serves one call; that of a net, or a `Partial`, serves all.
    """
    if isinstance(f, Partial):
        return f
    if isinstance(f, tuple):
        net, variables = f
        return Partial(Evaluating(net), variables)
    closed = jax.make_jaxpr(lambda x: main(f(x)))(images)
    return Partial(Traced(closed.jaxpr), list(closed.consts))


def compiled(function: Callable, f: Answers, images: Any, *arrays: Any, **static: Any) -> Any:
    """`function(f, images, *arrays, **static)` as one program, of which the arrays in `f` are inputs."""
    images = floats(images)
    return compiled_program(function, *sorted(static))(as_function(f, images), images, *arrays, **static)


def compiled_program(function: Callable, *static: str) -> Callable:
    """`function` compiled as trainings are, the same one each time; `static` are keywords that shape the program."""
    return _program(function, static, tuple(compiler_options(jax.default_backend()).items()))


@functools.cache
def _program(function: Callable, static: tuple[str, ...], options: tuple) -> Callable:
    return jax.jit(function, static_argnames=static, compiler_options=dict(options))


def floats(images: Any) -> jax.Array:
    """Images (B, *sizes, C) that can be differentiated by, or an error."""
    images = jnp.asarray(images)
    if images.ndim < 3 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"images are {images.dtype} {images.shape}; they must be floats (B, *sizes, C), as the function reads them"
        )
    return images


def targets(target: Any, count: int) -> np.ndarray:
    """The class that is asked about of each of `count` images, of one for all or one each."""
    target = np.asarray(target)
    if not np.issubdtype(target.dtype, np.integer) or target.shape not in ((), (count,)):
        raise ValueError(f"target is {target.dtype} {target.shape}; it must be a class, or {count}: one for each image")
    return np.broadcast_to(target, (count,)).astype(np.int32)


def answers(f: Callable, images: jax.Array, target: jax.Array) -> jax.Array:
    """The output (B,) of each image for its class."""
    outputs = f(images)
    if outputs.ndim != 2:
        raise ValueError(f"the function gives {outputs.shape} for images {images.shape}; it must give (B, K)")
    return jnp.take_along_axis(outputs, target[:, None], 1)[:, 0]
