"""Which program computes each convolution primitive: chosen when a program is lowered for a platform."""

from cnnjax import _versions
from cnnjax.ops import _cpu, _plain
from cnnjax.ops._trilinear import Geometry, input_of, input_p, kernel_p, multiplies, output_of, output_p

__all__ = ["Geometry", "input_of", "multiplies", "output_of"]

for _primitive, _name in ((output_p, "output_of"), (input_p, "input_of"), (kernel_p, "kernel_of")):
    _versions.define_lowering(_primitive, getattr(_plain, _name))
    _versions.define_lowering(_primitive, getattr(_cpu, _name), platform="cpu")
