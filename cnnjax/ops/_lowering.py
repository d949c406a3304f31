"""Which program computes each convolution primitive: chosen when a program is lowered for a platform."""

from jax.interpreters import mlir

from cnnjax.ops import _cpu, _plain
from cnnjax.ops._trilinear import Geometry, input_of, input_p, kernel_p, multiplies, output_of, output_p

__all__ = ["Geometry", "input_of", "multiplies", "output_of"]

for _primitive, _name in ((output_p, "output_of"), (input_p, "input_of"), (kernel_p, "kernel_of")):
    mlir.register_lowering(_primitive, mlir.lower_fun(getattr(_plain, _name), multiple_results=False))
    mlir.register_lowering(_primitive, mlir.lower_fun(getattr(_cpu, _name), multiple_results=False), platform="cpu")
