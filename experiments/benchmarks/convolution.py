"""Times single convolutions and pools, forwards and both gradients: cnnjax, XLA's own, and one in a scan of 4.

python -m experiments.benchmarks.convolution --threads=1 --json=experiments/benchmarks/convolution.json
"""

import functools
import math

import jax
import jax.numpy as jnp
from absl import flags
from jax import lax

from cnnjax import ops
from cnnjax.config import one_of
from cnnjax.ops.shapes import pad_pairs
from cnnjax.programs import process
from experiments.benchmarks import timing

FLAGS = timing.common_flags()
flags.DEFINE_list("only", [], "names to measure; empty: all", flag_values=FLAGS)

CASES = {  # name: (input, kernel, options)
    "resnet stage 1": ((16, 32, 32, 64), (3, 3, 64, 64), {"padding": 1}),
    "resnet stage 2": ((16, 16, 16, 128), (3, 3, 128, 128), {"padding": 1}),
    "resnet stage 3": ((16, 8, 8, 256), (3, 3, 256, 256), {"padding": 1}),
    "resnet downsampling": ((16, 32, 32, 64), (3, 3, 64, 128), {"padding": 1, "stride": 2}),
    "strided 1x1": ((16, 32, 32, 64), (1, 1, 64, 128), {"stride": 2}),
    "1x1": ((16, 16, 16, 256), (1, 1, 256, 64), {}),
    "colour image": ((16, 32, 32, 3), (3, 3, 3, 64), {"padding": 1}),
    "thin images": ((128, 31, 31, 24), (3, 3, 24, 64), {}),
    "imagenet stem": ((2, 224, 224, 3), (7, 7, 3, 64), {"padding": 3, "stride": 2}),
    "lenet c1": ((128, 28, 28, 1), (5, 5, 1, 6), {"padding": 2}),
    "lenet c3": ((128, 14, 14, 6), (5, 5, 6, 16), {}),
    "depthwise": ((8, 56, 56, 96), (3, 3, 1, 96), {"padding": 1, "groups": 96}),
    "series": ((16, 196, 256), (3, 256, 256), {"dilation": 2}),
    "narrow video": ((4, 16, 56, 56, 3), (3, 3, 3, 3, 32), {"padding": 1}),
    "video": ((2, 8, 28, 28, 32), (3, 3, 3, 32, 64), {"padding": 1}),
}
_POOL = "max pool"


def plain(x, kernel, *, stride=1, padding=0, dilation=1, groups=1):
    """The convolution as a user of `jax.lax` writes it."""
    n = kernel.ndim - 2
    letters = "DHW"[3 - n :]
    every = tuple((value,) * n for value in (stride, dilation))
    pairs = pad_pairs(padding, x.shape[1:-1], kernel.shape[:n], *every)
    return lax.conv_general_dilated(
        x, kernel, every[0], pairs, rhs_dilation=every[1], feature_group_count=groups,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
    )  # fmt: skip


def programs(f, x, kernel):
    """The output, the input's and the kernel's gradient as functions of nothing left out."""
    seed = jnp.ones(jax.eval_shape(f, x, kernel).shape)
    return {
        "output": (f, (x, kernel)),
        "input": (lambda kernel, y: jax.linear_transpose(lambda x: f(x, kernel), x)(y)[0], (kernel, seed)),
        "kernel": (lambda x, y: jax.linear_transpose(lambda kernel: f(x, kernel), kernel)(y)[0], (x, seed)),
    }


def contestant(f, arguments, options):
    program = jax.jit(f, compiler_options=options).lower(*arguments).compile()
    jax.block_until_ready(program(*arguments))
    return functools.partial(timing.timed, lambda: program(*arguments))


def pools(x):
    """Ours and XLA's maximum over 2×2, with gradient."""

    def xla(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

    return (jax.grad(lambda x: jnp.sum(ops.max_pool(x, 2) ** 2)), jax.grad(lambda x: jnp.sum(xla(x) ** 2)))


def main(argv: list[str]) -> None:
    process.read(FLAGS, argv)
    for name in FLAGS.only:
        one_of(name, (*CASES, _POOL), path="--only")
    timing.pin(FLAGS.threads)
    kind = "processor" if FLAGS.threads == 1 else "wall"
    options = ops.compiler_options(jax.default_backend())
    rows, result = [], {"machine": timing.machine(), "compared": kind, "cases": {}}

    def measure(name, pair, work):
        found = timing.interleaved(pair, FLAGS.rounds, FLAGS.steps)
        ours, theirs = (found[key][kind] for key in pair)
        result["cases"][name] = {"timings": found, "ratio": theirs / ours, "gflops": 2e-6 * work / ours}
        rows.append([name, f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.2f}", f"{2e-6 * work / ours:.0f}"])
        print(*rows[-1], flush=True)

    for name, (shape, window, changes) in CASES.items():
        if FLAGS.only and name not in FLAGS.only:
            continue
        x, kernel = (jax.random.normal(jax.random.key(i), each) for i, each in enumerate((shape, window)))
        mine = programs(functools.partial(ops.conv, **changes), x, kernel)
        other = programs(functools.partial(plain, **changes), x, kernel)
        places = jax.eval_shape(mine["output"][0], x, kernel).shape
        work = math.prod(places[:-1]) * math.prod(window)
        for which in mine:
            pair = {"cnnjax": contestant(*mine[which], options), "xla": contestant(*other[which], {})}
            measure(f"{name}, {which}", pair, work)
    if not FLAGS.only or _POOL in FLAGS.only:
        x = jax.random.normal(jax.random.key(0), (16, 64, 64, 64))
        mine, other = pools(x)
        pair = {"cnnjax": contestant(mine, (x,), options), "xla": contestant(other, (x,), {})}
        measure("max pool 2×2, gradient", pair, 0)
    print(timing.table(["case", "cnnjax ms", "xla ms", "× xla", "GFLOP/s"], rows))
    if FLAGS.json:
        timing.write(FLAGS.json, result)


if __name__ == "__main__":
    process.start(main, __doc__, FLAGS)
