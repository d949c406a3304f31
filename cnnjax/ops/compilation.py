"""The compiler options a step is compiled with, in one place."""

import functools
import os
import warnings

import jax
import jax.numpy as jnp

__all__ = ["compiler_options", "has_onednn", "single_use_options"]

# XLA for x86 holds oneDNN, the library that PyTorch's convolutions run on, and hands it those that it is asked to.
# XLA's other library, YNNPACK, is on by default: its convolutions are slower, its elementwise kernels keep XLA from
# fusing slices with sums, its products are no faster than oneDNN's; its reductions are kept (README.md).
_LIBRARY = {"xla_cpu_experimental_onednn_custom_call": True}
_WISHES = {"cpu": {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE"}}

# with a cache folder set JAX tells so of each program that calls oneDNN
warnings.filterwarnings("ignore", "Error writing persistent compilation cache entry")


def _is_wanted() -> bool:
    """Whether CNNJAX_ONEDNN leaves oneDNN in.

    Programs that call it cannot be written to a disk (jaxlib 0.12); for many short runs of one program a cache is worth
    more than the library.
    """
    return os.environ.get("CNNJAX_ONEDNN") != "0"


def compiler_options(platform: str) -> dict[str, str | bool]:
    """Options for `jax.jit(compiler_options=…)` on a platform; those that this XLA does not know are left out."""
    return dict(_known(platform, platform == "cpu" and _is_wanted()))


def single_use_options(platform: str) -> dict[str, int]:
    """Options for a program that runs once, as the one that draws the first weights: LLVM's simplest passes.

    The same bits come out, and a net of fifty kernels is compiled in a quarter of the time.
    """
    return {"xla_backend_optimization_level": 1} if platform == "cpu" else {}


@functools.cache
def _known(platform: str, library: bool) -> tuple[tuple[str, str | bool], ...]:
    wishes = _WISHES.get(platform, {}) | (_LIBRARY if library else {})
    return tuple((name, value) for name, value in wishes.items() if _accepted(platform, name, value))


def _accepted(platform: str, name: str, value: str | bool) -> bool:
    """Whether this XLA compiles a trivial program with the option: an unknown one raises when it compiles."""
    try:
        device = jax.local_devices(backend=platform)[0]
        with jax.default_device(device):
            jax.jit(lambda x: x, compiler_options={name: value}).lower(jnp.zeros(())).compile()
    except (RuntimeError, ValueError):  # JaxRuntimeError is a RuntimeError
        return False
    return True


def has_onednn() -> bool:
    """Whether programs compiled for the CPU with `compiler_options` run their convolutions in oneDNN."""
    return _is_wanted() and _is_there()


@functools.cache
def _is_there() -> bool:
    def convolved(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    x, kernel = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 8, 8, 16), (3, 3, 16, 16)))
    try:
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # a program for CPUs is exported where JAX_PLATFORMS leaves them out
        return False
    with jax.default_device(device):
        program = jax.jit(convolved, compiler_options=dict(_known("cpu", True))).lower(x, kernel).compile()
    return "__onednn$convolution" in (program.as_text() or "")
