"""The compiler options a step is compiled with, in one place."""

import functools

import jax
import jax.numpy as jnp

__all__ = ["compiler_options"]

# XLA's YNNPACK library is on by default. Its convolutions are slower than XLA's own on the CPUs measured, and its
# elementwise kernels keep XLA from fusing slices with sums; its products and reductions are kept (README.md).
_WISHES = {
    "cpu": {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"},
}


def compiler_options(platform: str) -> dict[str, str]:
    """Options for `jax.jit(compiler_options=…)` on a platform; those that this XLA does not know are left out."""
    return dict(_known(platform))


@functools.cache
def _known(platform: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in _WISHES.get(platform, {}).items() if _accepted(platform, name, value))


def _accepted(platform: str, name: str, value: str) -> bool:
    """Whether this XLA compiles a trivial program with the option: an unknown one raises when it compiles."""
    try:
        device = jax.local_devices(backend=platform)[0]
        with jax.default_device(device):
            jax.jit(lambda x: x, compiler_options={name: value}).lower(jnp.zeros(())).compile()
    except (RuntimeError, ValueError):  # JaxRuntimeError is a RuntimeError
        return False
    return True
