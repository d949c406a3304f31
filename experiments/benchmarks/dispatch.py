"""Steps per dispatch: what a training step costs alone and inside the loop of one dispatch, on this machine's backend.

  python -m experiments.benchmarks.dispatch [--models=lenet5,resnet20] [--counts=1,4,16] [--rounds=5] [--precision=auto]

Prints a table of milliseconds a step (medians of interleaved rounds on the embedded digits). `train/plan.py` holds what
follows from it.
"""

import statistics
import time

import jax
import numpy as np
from absl import flags

from cnnjax.config import augmentation, entries, experiment, one_of, section
from cnnjax.programs import process
from cnnjax.runs.tables import tabulate
from cnnjax.train.job import prepare
from experiments.benchmarks import timing

FLAGS = flags.FlagValues()
flags.DEFINE_list("models", ["lenet5", "resnet20"], "networks on the embedded digits", flag_values=FLAGS)
flags.DEFINE_list("counts", ["1", "4", "16"], "steps per dispatch", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 5, "interleaved rounds", 1, flag_values=FLAGS)
flags.DEFINE_string("json", "", "file for the result", flag_values=FLAGS)
timing.define_precision(FLAGS)


def timer(model: str, count: int, *, steps: int = 16, precision: str = "auto"):
    """A function that trains so many steps, `count` a dispatch, and gives the milliseconds a step."""
    prepared = prepare(
        experiment(
            data=section("data", "digits"),
            model=section("models", model),
            task=section("tasks", "classification"),
            augment=augmentation(train=("shift", "normalize"), eval=("normalize",)),
            optimizer=section("optimizers", "sgd"),
            schedule=section("schedules", "constant"),
            train={"steps": steps, "batch": 64, "dispatch": count, "devices": 1, "precision": precision},
            report={"page": False, "steps": steps},
            eval={"steps": steps},
        )
    )
    store, stream = prepared.store(prepared.source.train), prepared.batches(prepared.source.train)
    state = prepared.layout.replicate(prepared.start())

    def run():
        nonlocal state
        marker, start = 0, time.perf_counter()
        for t in range(0, steps, count):
            batches = prepared.layout.share(stream.batches(t, count), 2)
            state, marker = prepared.step(state, store, batches, np.int32(count))
        jax.block_until_ready(marker)
        return 1e3 * (time.perf_counter() - start) / steps

    run()
    return run


def measured(models: list[str], counts: list[int], rounds: int, precision: str = "auto") -> dict[str, dict[str, float]]:
    """Milliseconds a step by model and steps per dispatch; all counts take the same number of steps a round."""
    rows, steps = {}, max(16, *counts)
    for model in models:
        timers = {count: timer(model, count, steps=steps // count * count, precision=precision) for count in counts}
        found = [{count: run() for count, run in timers.items()} for _ in range(rounds)]
        rows[model] = {f"{count} a dispatch": statistics.median(r[count] for r in found) for count in timers}
    return rows


def main(argv: list[str]) -> None:
    """Measures, prints and writes."""
    process.read(FLAGS, argv)
    for model in FLAGS.models:
        one_of(model, entries("models"), path="--models")
    rows = measured(FLAGS.models, timing.counts(FLAGS.counts, "counts"), FLAGS.rounds, FLAGS.precision)
    print(tabulate(rows))
    what = "milliseconds a training step, batch 64, by steps per dispatch"
    if FLAGS.json:
        precision = timing.precision_of(FLAGS.precision)
        timing.write(FLAGS.json, {"what": what, "machine": timing.machine(), "precision": precision, "rows": rows})


if __name__ == "__main__":
    process.start(main, __doc__, FLAGS)
