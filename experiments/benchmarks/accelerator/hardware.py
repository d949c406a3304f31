"""What the device is and what it can do at best: copies, products, the cost of a call."""

import contextlib
import shutil
import subprocess
import time

import jax
import jax.numpy as jnp

from experiments.benchmarks import timing
from experiments.benchmarks.accelerator.figures import Told


def card(told: Told, *, tiny: bool, peer: str) -> None:
    """Device, driver and versions; bandwidth, rates of products, and what a call costs."""
    machine = timing.machine()
    told.line({"machine": machine})
    told("device", machine["device"])
    for name, value in _driver().items():
        told(name, value)
    versions = machine["versions"]
    told("runtime", jax.devices()[0].client.platform_version.split("\n")[0])
    told("versions", f"Python {machine['python']}, jax {versions['jax']}, jaxlib {versions['jaxlib']}")
    side, values = (256, 2**18) if tiny else (8192, 2**28)
    x = jnp.zeros(values, jnp.float32)
    size = x.nbytes
    seconds = _each(jax.jit(lambda x: x + 1, donate_argnums=0), x, calls=3 if tiny else 20)
    told("copy, read and written", 2 * size / seconds / 1e9, "GB/s")
    for precision in ("bfloat16", "float32"):
        told(f"product or 3×3 convolution, {precision}", timing.peak(precision, side) / 1e3, "TFLOP/s")
    few = jnp.zeros(8)
    add = jax.jit(lambda x: x + 1)
    told("a call, one of many", 1e6 * _each(add, few, calls=1000), "µs")
    jax.block_until_ready(add(few))
    began = time.perf_counter()
    for _ in range(100):
        jax.block_until_ready(add(few))
    told("a call, waited for", 1e4 * (time.perf_counter() - began), "µs")


def _each(function, argument, calls: int) -> float:
    """Seconds of a call of many, each of its own predecessor's result."""
    held = jax.block_until_ready(function(argument))
    began = time.perf_counter()
    for _ in range(calls):
        held = function(held)
    jax.block_until_ready(held)
    return (time.perf_counter() - began) / calls


def _driver() -> dict[str, str]:
    """What nvidia-smi says of the card, {} where there is none."""
    if not shutil.which("nvidia-smi"):
        return {}
    asked = ["nvidia-smi", "--query-gpu=driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        line = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()[0]
        return dict(zip(("driver", "memory", "clock at most"), map(str.strip, line.split(",")), strict=True))
    return {}
