"""Interleaved timings, the machine they were taken on, tables and JSON."""

import functools
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from absl import flags

from cnnjax import ops
from cnnjax.config import ConfigError


def common_flags() -> flags.FlagValues:
    """The flags that every benchmark of this kind has."""
    values = flags.FlagValues()
    flags.DEFINE_integer("rounds", 3, "turns of each contestant", 1, flag_values=values)
    flags.DEFINE_integer("steps", 3, "steps, or calls, a turn", 1, flag_values=values)
    flags.DEFINE_integer("threads", 0, "processors to use; 0 = all", 0, flag_values=values)
    flags.DEFINE_string("json", "", "file for the result", flag_values=values)
    return values


def define_precision(values: flags.FlagValues) -> None:
    """Defines the flag that says what activations and kernels are."""
    words, help_ = ["auto", "float32", "bfloat16"], "of activations and kernels; auto: as training's, by the backend"
    flags.DEFINE_enum("precision", "auto", words, help_, flag_values=values)


def precision_of(word: str) -> str:
    """The precision that a word of the flag stands for on this backend."""
    return {"auto": "float32" if jax.default_backend() == "cpu" else "bfloat16"}.get(word, word)


PACKAGES = ("cnnjax", "jax", "jaxlib", "flax", "numpy", "optax")


def pin(threads: int) -> None:
    """Keeps this process and those it starts on that many processors; before JAX starts its threads. 0 = all."""
    if threads:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
        os.environ["OMP_NUM_THREADS"] = str(threads)


def counts(words: list[str], flag: str) -> list[int]:
    """The whole numbers ≥ 1 of a flag that lists them."""
    wrong = [word for word in words if not (word.isdecimal() and int(word))]
    if wrong:
        raise ConfigError(f"--{flag} has {wrong[0]!r}; it must list whole numbers ≥ 1")
    return [int(word) for word in words]


def timed(f: Callable, count: int) -> list[list[float]]:
    """[wall, processor] milliseconds of each of `count` calls; processor time counts this process alone.

    An accelerator is given all of them before it is waited for, as in training: one row, of the mean call.
    """
    rows, together = [], 1 if jax.default_backend() == "cpu" else count
    for _ in range(count // together):
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(together):
            found = f()
        jax.block_until_ready(found)
        times = time.perf_counter() - wall, time.process_time() - processor
        rows.append([1e3 * each / together for each in times])
    return rows


def peak(precision: str = "float32", side: int = 0) -> float:
    """GFLOP a second that multiplies reach here, now.

    The better of a product of two matrices and of a 3×3 convolution, each in its fastest of nine runs: what does the
    products is not the fastest that there is for every size. Random numbers: ones cost less power, and run faster.
    """
    few = jax.default_backend() == "cpu"
    side = side or (1024 if few else 8192)
    shapes = ((side, side), (64, 8, 8, 256) if few else (256, 28, 28, 256), (3, 3, 256, 256))
    keys = jax.random.split(jax.random.key(0), 3)
    matrix, images, kernel = (jax.random.normal(k, shape, precision) for k, shape in zip(keys, shapes, strict=True))
    cases = (
        (jnp.matmul, (matrix, matrix), 2 * side**3),
        (functools.partial(ops.conv, padding=1), (images, kernel), 2 * images.size * kernel.size // 256),
    )
    reached = []
    for function, operands, flop in cases:
        run = jax.jit(function, compiler_options=ops.compiler_options(jax.default_backend()))
        timed(lambda run=run, operands=operands: run(*operands), 2)
        fastest = min(row[0] for row in timed(lambda run=run, operands=operands: run(*operands), 9))
        reached.append(flop / fastest / 1e6)
    return max(reached)


class Peer:
    """A program of another Python that answers each line of words with a line of JSON, as `torch_peer.py` does.

    Its first line says what it runs on.
    """

    def __init__(self, python: str, script: str, *arguments: str):
        path = Path(__file__).with_name(script)
        if not shutil.which(python):
            raise ConfigError(f"--peer is {python}, which is no program; README.md in {path.parent.name}/ makes one")
        command = [python, "-W", "ignore", str(path), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self._process.stdout.readline()
        if not line:
            raise ConfigError(f"--peer is {python}, which cannot run {script}; its last words are above")
        self.versions = json.loads(line)

    def ask(self, *words: object) -> object:
        self.begin(*words)
        return self.answer()

    def begin(self, *words: object) -> None:
        """Asks without waiting: the peer compiles while this process does."""
        self._question = " ".join(map(str, words))
        self._process.stdin.write(f"{self._question}\n")
        self._process.stdin.flush()

    def answer(self) -> object:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peer stopped at {self._question}; its last words are above")
        return json.loads(line)

    def close(self) -> None:
        self._process.communicate()


def interleaved(contestants: dict[str, Callable[[int], list]], rounds: int, count: int) -> dict[str, dict]:
    """Each contestant makes `count` steps a round, one after the other: what disturbs the machine disturbs all.

    The median and the smallest of wall and processor milliseconds, by name, and the milliseconds a step that a host
    gave the cores to others while work waited for them.
    """
    rows, lost = {name: [] for name in contestants}, dict.fromkeys(contestants, 0.0)
    for _ in range(rounds):
        for name, steps in contestants.items():
            before = stolen()
            rows[name] += steps(count)
            lost[name] += stolen() - before
    return {name: summary(each) | {"stolen": round(lost[name] / len(each))} for name, each in rows.items() if each}


def summary(rows: list) -> dict[str, float]:
    wall, processor = zip(*rows, strict=True)
    found = {"wall": statistics.median(wall), "wall_least": min(wall), "processor": statistics.median(processor)}
    return {name: round(value, 3) for name, value in found.items()} | {"steps": len(rows)}


def stolen() -> float:
    """Milliseconds, of all cores together, for which this machine's host has run others since it was started.

    0 where the kernel does not say. A core that waits without work is given away first, and comes back late.
    """
    path = Path("/proc/stat")
    fields = path.read_text().split(maxsplit=9) if path.exists() else []
    return 1e3 * int(fields[8]) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def machine() -> dict:
    """The processor, the versions and the load under which a benchmark ran."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "processor": model, "cores": len(os.sched_getaffinity(0)), "load": [round(x, 2) for x in os.getloadavg()],
        "platform": jax.default_backend(), "device": jax.devices()[0].device_kind,
        "python": platform.python_version(), "versions": versions,
    }  # fmt: skip


def table(header: list[str], rows: list[list]) -> str:
    """Rows under a header, in Markdown."""
    lines = [header, ["---"] * len(header), *[[str(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write(path: str, found: dict) -> None:
    """Writes what was found; a file of before is there until the new one is whole."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    whole = target.with_name(f"{target.name}.part")
    whole.write_text(json.dumps(found, indent=1) + "\n")
    whole.replace(target)
