"""Where the milliseconds of a training step go: compile time, and time by kind of operation, from JAX's profiler.

    python -m experiments.benchmarks.breakdown --nets=resnet50,c3d --json=breakdown.json
    python -m experiments.benchmarks.breakdown --nets=densenet201:2 --largest=20

The networks and the step are those of `steps`. A kind counts for as long as any core is at an operation of it: on
several cores the kinds add up to more than the step where two run side by side, to less where all wait. The floor is
what the multiplies of all passes would take at the speed of a product of two matrices, or of a 3×3 convolution, the
better of them, measured beside the net.
"""

import collections
import glob
import re
import statistics
import tempfile
import time
from collections.abc import Iterable

import jax
import jax.numpy as jnp
from absl import flags
from jax.profiler import ProfileData

from cnnjax import ops
from cnnjax.analysis import multiplies
from cnnjax.programs import process
from experiments.benchmarks import timing
from experiments.benchmarks.networks import NETS, OURS, ZOO, check
from experiments.benchmarks.steps import step_of

FLAGS = timing.common_flags()
flags.DEFINE_list("nets", [*NETS, *ZOO], "networks to measure, name:batch for another batch", flag_values=FLAGS)
timing.define_precision(FLAGS)
flags.DEFINE_integer("largest", 0, "list so many of the longest operations too", 0, flag_values=FLAGS)

_KINDS = ("convolutions", "products", "loops", "reductions", "elementwise", "copies")
_HEAD = ["net", "compiled in s", "GFLOP", "ms a step", "floor", *_KINDS, "waiting"]
_ORIGIN = r"^\s*(?:ROOT )?%([\w.\-]+) = \(?(\w+\[[\d,]*\]).*?(?:op_name=\"([^\"]*)\".*)?$"
_COPIES = {"copy", "transpose", "pad", "concatenate", "slice", "broadcast", "reverse", "dynamic-slice", "iota", "clone"}


def kinds_of(text: str) -> dict[str, str]:
    """The kind of each operation of a compiled program, by its name in there."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"\s*(?:ROOT )?%([\w.\-]+) = .*?\s([\w\-]+)\(", line)
        if match:
            found[match[1]] = _kind(match[1], match[2], line)
    return found


def _kind(name: str, opcode: str, line: str) -> str:
    if "/while/body/" in line:
        return "loops"
    if any(target in line for target in ("__onednn$convolution", "__cudnn$conv")) or opcode == "convolution":
        return "convolutions"
    if any(target in line for target in ("__onednn$matmul", "__cublas$", "__triton_gemm")) or opcode == "dot":
        return "products"
    words = set(name.partition(".")[0].split("_")) - {"fusion", "wrapped", "bitcast"}
    if words & {"reduce", "reduce-window", "ynn"}:  # reductions are all that is left to YNNPACK
        return "reductions"
    return "copies" if words <= _COPIES else "elementwise"


def library_calls(text: str) -> dict[str, list[str]]:
    """For each operation of a compiled program the library's calls whose results it reads, a call first itself."""
    calls, views, found = set(), {}, {}
    for line in text.splitlines():
        match = re.match(r"\s*(?:ROOT )?%([\w.\-]+) = .*?\s([\w\-]+)\((.*)", line)
        if not match:
            continue
        name, opcode, rest = match.groups()
        operands = re.findall(r"%([\w.\-]+)", rest.partition(")")[0])
        if opcode in ("get-tuple-element", "bitcast") and operands:
            views[name] = views.get(operands[0], operands[0])
        read = (views.get(operand, operand) for operand in operands)
        found[name] = [operand for operand in read if operand in calls]
        if "__onednn$" in line:
            calls.add(name)
            found[name].insert(0, name)
    return found


def lengthened(spans: dict[str, list[tuple[float, float]]], calls: dict[str, list[str]]) -> tuple[dict, float]:
    """Spans that end where their results are there, and the ms that then are left in which nothing ran.

    The library works in threads that the profiler doesn't see: the span of a call ends when the thread that made it has
    done its own share, which may be none. Where nothing else ran until an operation began, the call whose result it
    reads was still at work; of an operation that reads none, the call that ended last, on whose threads it waited.
    """
    found, waiting = collections.defaultdict(list, {name: list(rows) for name, rows in spans.items()}), 0.0
    rows = sorted((start, stop, name) for name, some in spans.items() for start, stop in some)
    end, last = rows[0][0] if rows else 0.0, ""
    for start, stop, name in rows:
        read = [call for call in calls.get(name, ()) if call != name]
        busy = read or [call for call in calls.get(last, ()) if call == last]
        if start > end and busy:
            found[busy[0]].append((end, start))
        elif start > end:
            waiting += start - end
        if stop > end:
            end, last = stop, name
    return found, waiting


def union(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of these spans lasts."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def spans_of(folder: str) -> dict[str, list[tuple[float, float]]]:
    """When each operation ran on any thread or stream, in ms, from the trace in a folder."""
    (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
    spans = collections.defaultdict(list)
    planes = list(ProfileData.from_file(path).planes)
    cards = [plane for plane in planes if plane.name.startswith("/device:")]
    for plane in cards or planes:
        for line in plane.lines:
            for event in line.events:
                start = event.start_ns / 1e6
                # a kernel has a name of its own; a call of oneDNN has its target's name behind the operation's
                name = dict(event.stats).get("hlo_op", event.name) if cards else event.name.partition("__onednn")[0]
                spans[name].append((start, start + event.duration_ns / 1e6))
    return spans


def breakdown(step, state, batch, steps: int) -> dict:
    """Seconds of compilation, GFLOP and ms of a step, ms by kind, (ms, name, result and origin) of each operation."""
    lowered = jax.jit(step, compiler_options=ops.compiler_options(jax.default_backend()), donate_argnums=0).lower(
        state, *batch
    )
    start = time.perf_counter()
    program = lowered.compile()
    seconds = time.perf_counter() - start
    held = [jax.tree.map(jnp.copy, state)]

    def call():
        held[0] = program(held[0], *batch)
        return held[0]

    jax.block_until_ready(call())
    wall = statistics.median(row[0] for row in timing.timed(call, steps))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            timing.timed(call, steps)
        spans = spans_of(folder)
    text = program.as_text()
    kinds = kinds_of(text)
    own = {name: rows for name, rows in spans.items() if name in kinds and not name.startswith(("while", "call"))}
    own, waiting = lengthened(own, library_calls(text))
    groups = collections.defaultdict(list)
    for name, rows in own.items():
        groups[kinds[name]] += rows
    origins = {match[1]: f"{match[2]}  {match[3] or ''}".strip() for match in re.finditer(_ORIGIN, text, re.MULTILINE)}
    return {
        "compile": seconds,
        "gflop": 2 * multiplies(step, state, *batch) / 1e9,
        "ms": wall,
        "kinds": {kind: union(groups[kind]) / steps for kind in _KINDS} | {"waiting": waiting / steps},
        "operations": sorted(
            ((union(rows) / steps, name, origins.get(name, "")) for name, rows in own.items()), reverse=True
        ),
    }


def main(argv: list[str]) -> None:
    process.read(FLAGS, argv)
    check(FLAGS.nets)
    timing.pin(FLAGS.threads)
    precision = timing.precision_of(FLAGS.precision)
    result = {"machine": timing.machine(), "precision": precision, "nets": {}}
    rows = []
    for name in FLAGS.nets:
        before = timing.peak(precision)
        found = breakdown(*step_of(name, OURS, precision), FLAGS.steps)
        found["peak"] = max(before, timing.peak(precision))  # of a machine that others share: the better moment
        kinds = found["kinds"]
        floor = 1e3 * found["gflop"] / found["peak"]
        times = (found["ms"], floor, *(kinds[kind] for kind in (*_KINDS, "waiting")))
        rows.append([name, f"{found['compile']:.1f}", f"{found['gflop']:.1f}", *(f"{ms:.0f}" for ms in times)])
        print(timing.table(_HEAD, rows[-1:]), flush=True)
        for ms, operation, source in found["operations"][: FLAGS.largest]:
            print(f"{ms:8.2f}  {operation}  {source}")
        result["nets"][name] = found | {"operations": found["operations"][:20]}
        if FLAGS.json:
            timing.write(FLAGS.json, result)
    print(timing.table(_HEAD, rows))


if __name__ == "__main__":
    process.start(main, __doc__, FLAGS)
