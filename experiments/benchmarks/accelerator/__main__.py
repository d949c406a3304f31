"""A quarter of an hour on a GPU: one command that proves and measures what matters, the most valuable first.

    python -m experiments.benchmarks.accelerator --budget=480 --json=experiments/benchmarks/results/accelerator.json
    python -m experiments.benchmarks.accelerator --tiny          # all of it, small, on any machine: about a minute
    python -m experiments.benchmarks.accelerator --parts=cifar,resnet50

Each part has a limit of its own and runs in a process apart; its figures are written to --json as they come, beside
what that file holds of parts that this call leaves out. A part that fails says why in a line and the next goes on.
CIFAR-10 and MNIST are read from CNNJAX_DATA. --peer is a Python that has PyTorch and torchvision (auto: this one,
where it has them).
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from absl import flags

from cnnjax.config import one_of
from cnnjax.programs import process
from experiments.benchmarks import timing
from experiments.benchmarks.accelerator.figures import Told, as_table
from experiments.benchmarks.accelerator.supervision import Part, supervised

_EXACT = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true".strip()}
# what is worth most comes first; the first three give the headline in five minutes
PARTS = {
    "card": Part("The device", "hardware:card", 60, "headline"),
    "cifar": Part("CIFAR-10: 94 %", "recipes:cifar", 120, "headline"),
    "resnet50": Part("ResNet-50: one training step of 224²", "peers:resnet50", 200, "resnet50"),
    "cifar96": Part("CIFAR-10: 96 %", "recipes:cifar96", 150, "cifar96"),
    "agreement": Part("Numbers agree: this device against float64 on the CPU", "numerics:agreement", 100, "many"),
    "resuming": Part("A resumed run, with XLA's default kernels", "resumption:resuming", 60, "many"),
    "exactly": Part("A resumed run, with deterministic kernels", "resumption:exactly", 60, "exactly", _EXACT),
    "members": Part("16 LeNets as one program", "packs:members", 90, "many"),
    "dispatches": Part("Steps per dispatch", "packs:dispatches", 90, "many"),
    "memory": Part("Peak memory against --dry_run", "footprint:memory", 60, "memory"),
    "inputs": Part("What an image costs before the net and in evaluation", "images:inputs", 60, "many"),
    "nets": Part("One training step of eleven networks", "peers:nets", 400, "nets"),
}

FLAGS = flags.FlagValues()
flags.DEFINE_float("budget", 480.0, "seconds, for everything", 1.0, flag_values=FLAGS)
flags.DEFINE_bool("tiny", False, "everything, as small as it can be", flag_values=FLAGS)
flags.DEFINE_list("parts", list(PARTS), "which", flag_values=FLAGS)
flags.DEFINE_string("peer", "auto", "a Python that has PyTorch; empty: without", flag_values=FLAGS)
flags.DEFINE_string("json", "", "file for the result", flag_values=FLAGS)
flags.DEFINE_string("lines", "", "of the processes that this one starts: where they write", flag_values=FLAGS)


def main(argv: list[str]) -> None:
    """Measures the parts in processes of their own, or, told so by `--lines`, in this one."""
    process.read(FLAGS, argv)
    for name in FLAGS.parts:
        one_of(name, PARTS, path="--parts")
    if FLAGS.lines:
        _measure()
        return
    for number in (signal.SIGTERM, signal.SIGINT):  # what is known is printed, and nothing is left behind
        signal.signal(number, _stop)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch wants a share
    began, found, whole = time.monotonic(), {"parts": {}}, False
    before = _of_before()
    with contextlib.suppress(_Stopped), tempfile.TemporaryDirectory() as folder:
        if FLAGS.tiny:  # its processes compile some programs again, and what calls oneDNN can't be kept
            cached = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
            for name, value in {**cached, "CNNJAX_ONEDNN": "0"}.items():
                os.environ.setdefault(name, value)
        slack = 5 if FLAGS.tiny else 1  # a busy machine may take its time over what measures nothing
        parts = {name: dataclasses.replace(PARTS[name], limit=slack * PARTS[name].limit) for name in FLAGS.parts}
        supervised(parts, _command, FLAGS.budget, lambda now: _keep(now, found, before))
        whole = True
    print(as_table(found["parts"]))
    print(f"{time.monotonic() - began:.0f} of {FLAGS.budget:.0f} s")
    if not whole:
        sys.exit(75)


class _Stopped(BaseException):
    """A signal asked for an end."""


def _stop(number, frame):
    raise _Stopped


def _of_before() -> dict:
    """The parts that --json holds already and this call does not measure."""
    if not FLAGS.json or not Path(FLAGS.json).exists():
        return {}
    parts = json.loads(Path(FLAGS.json).read_text())["parts"]
    return {name: part for name, part in parts.items() if name not in FLAGS.parts}


def _keep(now: dict, found: dict, before: dict) -> None:
    found |= now
    if FLAGS.json:
        timing.write(FLAGS.json, {**found, "parts": before | found["parts"]})


def _command(names: list[str], lines: str, seconds: float) -> list[str]:
    words = [f"--parts={','.join(names)}", f"--lines={lines}", f"--budget={max(seconds, 1.0)}", f"--peer={FLAGS.peer}"]
    words += ["--tiny"] if FLAGS.tiny else []
    return [sys.executable, "-m", "experiments.benchmarks.accelerator", *words]


def _peer() -> str:
    """The Python of the peer, "" where there is none."""
    if FLAGS.peer != "auto":
        return FLAGS.peer
    return sys.executable if all(map(importlib.util.find_spec, ("torch", "torchvision"))) else ""


def _measure() -> None:
    """Measures the parts one after another, and writes what comes of it."""
    import jax

    told = Told(FLAGS.lines, os.getppid(), matters=jax.default_backend() != "cpu" and not FLAGS.tiny)
    for name in FLAGS.parts:
        told.line({"begun": name})
        why = ""
        try:
            module, _, function = PARTS[name].function.partition(":")
            module = importlib.import_module(f"experiments.benchmarks.accelerator.{module}")
            getattr(module, function)(told, tiny=FLAGS.tiny, peer=_peer())
        except Exception as error:
            why = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        told.line({"ended": name, "why": why})


if __name__ == "__main__":
    process.start(main, __doc__, FLAGS)
