"""Steps per dispatch: what a training step costs alone and inside the loop of one dispatch, on this machine's backend.

  python -m experiments.benchmarks.dispatch [--model=lenet5,resnet20] [--counts=1,4,16] [--rounds=5]

Prints a table of milliseconds a step (medians of interleaved rounds) and writes
experiments/benchmarks/results/dispatch_<backend>.json. `train/plan.py` holds what follows from it.
"""

import datetime
import json
import statistics
import time
from pathlib import Path

import jax
import numpy as np
from absl import app, flags

from cnnjax.config import augmentation, experiment, section
from cnnjax.runs.tables import tabulate
from cnnjax.train.job import prepare

MODELS = flags.DEFINE_list("model", ["lenet5", "resnet20"], "networks on the embedded digits")
COUNTS = flags.DEFINE_list("counts", ["1", "4", "16"], "steps per dispatch")
ROUNDS = flags.DEFINE_integer("rounds", 5, "interleaved rounds", 1)

_STEPS = 16  # that every round times of each


def timer(model: str, count: int):
    """A function that trains 16 steps, `count` a dispatch, and gives the milliseconds a step."""
    prepared = prepare(
        experiment(
            data=section("data", "digits"),
            model=section("models", model),
            task=section("tasks", "classification"),
            augment=augmentation(train=("shift", "normalize"), eval=("normalize",)),
            optimizer=section("optimizers", "sgd"),
            schedule=section("schedules", "constant"),
            train={"steps": _STEPS, "batch": 64, "dispatch": count, "devices": 1},
            report={"steps": _STEPS},
            eval={"steps": _STEPS},
        )
    )
    store, stream = prepared.store(prepared.source.train), prepared.batches(prepared.source.train)
    state = prepared.layout.replicate(prepared.start())

    def run():
        nonlocal state
        marker, start = 0, time.perf_counter()
        for t in range(0, _STEPS, count):
            batches = prepared.layout.share(stream.batches(t, count), 2)
            state, marker = prepared.step(state, store, batches, np.int32(count))
        jax.block_until_ready(marker)
        return 1e3 * (time.perf_counter() - start) / _STEPS

    run()
    return run


def main(argv):
    """Measures, prints and writes."""
    rows = {}
    for model in MODELS.value:
        timers = {int(count): timer(model, int(count)) for count in COUNTS.value}
        rounds = [{count: run() for count, run in timers.items()} for _ in range(ROUNDS.value)]
        rows[model] = {f"{count} a dispatch": statistics.median(r[count] for r in rounds) for count in timers}
    print(tabulate(rows))
    device = jax.devices()[0]
    found = {
        "what": "milliseconds a training step, batch 64, by steps per dispatch",
        "device": f"{device.platform}: {device.device_kind}",
        "jax": jax.__version__,
        "date": datetime.date.today().isoformat(),
        "rows": rows,
    }
    path = Path(__file__).parent / "results" / f"dispatch_{device.platform}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    app.run(main)
