"""Time of a sweep as one program against the same points trained by one process after another.

  python -m experiments.benchmarks.sweeps --epochs=5
  CNNJAX_DATA=~/tensorflow_datasets python -m experiments.benchmarks.sweeps --epochs=5 --json=sweeps.json

LeNet-5, learning rate × decay × seed: 16 points, on MNIST where CNNJAX_DATA says where it is prepared, else on the
digits. Both sides write the same files. `without start-up` leaves out of each process what it does before its first
step has run: importing, reading the data, compiling.

  --points=16  --alone=16    points of the sweep; how many of them are trained alone as well (the time of the rest is
                             that of their mean)
  --pack=auto                how the pack trains
  --throughput=1,4,16        instead: members times steps a second for packs of so many members, by every strategy,
                             and on CPUs for a process each, as many at once as there are cores
  --epochs=5  --batch=128  --precision=auto
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import flags

from cnnjax import config as sections
from cnnjax.config import augmentation, experiment, section
from cnnjax.programs import process
from cnnjax.runs.lines import lines_of
from cnnjax.sweep.space import cross, grid, seeds
from experiments.benchmarks.timing import counts, define_precision, machine, table, write

FLAGS = flags.FlagValues()
flags.DEFINE_float("epochs", 5.0, "epochs", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("batch", 128, "batch", 1, flag_values=FLAGS)
flags.DEFINE_integer("points", 16, "points", 1, flag_values=FLAGS)
flags.DEFINE_integer("alone", 16, "points trained alone", 1, flag_values=FLAGS)
flags.DEFINE_string("pack", "auto", "strategy", flag_values=FLAGS)
define_precision(FLAGS)
flags.DEFINE_list("throughput", [], "members of a pack", flag_values=FLAGS)
flags.DEFINE_string("json", "", "file for the result", flag_values=FLAGS)


def get_config():
    """LeNet-5 on MNIST or, where that is not prepared, on the digits."""
    root = os.environ.get("CNNJAX_DATA", "")
    data = section("data", "mnist", root=root, holdout=5000) if root else section("data", "digits", holdout=200)
    return experiment(
        data=data,
        model=section("models", "lenet5", activation="relu", pool="max"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=2e-3),
        schedule=section("schedules", "cosine", warmup_steps=20),
        train={"epochs": 5.0, "batch": 128, "devices": 1},
        eval={"epochs": 1.0},
        report={"page": False, "quiet": True},
    )


def sweep():
    """Four rates, two decays, two seeds."""
    return cross(grid({"optimizer.lr": (5e-4, 1e-3, 2e-3, 4e-3), "optimizer.decay": (0.01, 0.1)}), seeds(2))


def main(argv: list[str]) -> None:
    """Trains both ways and prints the ratios."""
    process.read(FLAGS, argv)
    if FLAGS.throughput:
        found = _throughput(counts(FLAGS.throughput, "throughput"))
        rows = [[count, *(f"{speed:.1f}" for speed in speeds.values())] for count, speeds in found["speeds"].items()]
        print(table(["members", *next(iter(found["speeds"].values()))], rows))
        if FLAGS.json:
            write(FLAGS.json, found)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = _measured(Path(folder))
    rows = [[name, *(f"{found[name][key]:.2f}" for key in ("wall", "training"))] for name in ("processes", "sweep")]
    rows.append(["ratio", f"{found['ratio']:.3f}", f"{found['ratio without start-up']:.3f}"])
    print(table(["seconds", "in all", "without start-up"], rows))
    print(f"the pack trained by {found['strategy']}; largest difference of a last metric: {found['difference']:.2g}")
    if FLAGS.json:
        write(FLAGS.json, found)


def _throughput(counts: list[int]) -> dict:
    """Steps of members a second, by the number of members and the strategy, compiling left out."""
    import jax

    from cnnjax.train.job import prepare
    from cnnjax.train.parallel import STRATEGIES

    changes = {"train.batch": FLAGS.batch, "train.precision": FLAGS.precision}
    prepared = prepare(sections.change(get_config(), changes))
    speeds: dict[int, dict[str, float]] = {}
    for members in counts:
        strategies = (strategy for strategy in STRATEGIES if strategy != "devices" or len(jax.devices()) > 1)
        speeds[members] = {strategy: speed(prepared, members, strategy) for strategy in strategies}
        if jax.default_backend() == "cpu":  # several processes do not share an accelerator
            speeds[members]["processes"] = _apart(members)
    return {"speeds": speeds, "batch": FLAGS.batch, "data": prepared.config["data"]["name"], "machine": machine()}


def speed(prepared, members: int, strategy: str, seconds: float = 2.0) -> float:
    """Steps of members a second of a pack of so many, on one order of the data, measured for so long at least."""
    import jax

    from cnnjax.train.members import PackState

    initial, numbers, count = prepared.initial(), sections.numeric(prepared.config), prepared.plan.dispatch
    pack_state = PackState(prepared, [()] * members, strategy, shared=True)
    pack_state.begin([jax.device_get(initial(k, numbers)) for k in range(members)])
    with prepared.batches(prepared.source.train) as stream:
        batches = stream.batches(0, count)
    jax.block_until_ready(pack_state.advance(batches, count))
    began, done, before = time.perf_counter(), 0, None
    while done < 3 or time.perf_counter() - began < seconds:
        marker = pack_state.advance(batches, count)
        jax.block_until_ready(before)  # as training does: the next dispatch is there before this one is done
        before, done = marker, done + 1
    jax.block_until_ready(before)
    return members * done * count / (time.perf_counter() - began)


def _apart(members: int) -> float:
    """Steps a second of so many processes together, as many at once as there are cores, between metric lines."""
    changes = {"train.batch": FLAGS.batch, "train.epochs": 0.0, "train.steps": 600, "eval.epochs": 0.0}
    changes |= {"train.precision": FLAGS.precision, "eval.steps": 600, "report.steps": 100, "eval.test": False}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "point.json")
        file.write_text(sections.to_json(sections.change(get_config(), changes)))
        workdirs = [Path(folder, str(k)) for k in range(min(members, os.cpu_count() or 1))]
        command = [sys.executable, "-m", "experiments.train", f"--config={file}"]
        running = [subprocess.Popen([*command, f"--workdir={w}"], stdout=subprocess.DEVNULL) for w in workdirs]
        if any([process.wait() for process in running]):  # noqa: C419 - all of them are waited for
            raise RuntimeError("a process failed; its words are above")
        return sum(_pace(workdir) for workdir in workdirs)


def _pace(workdir: Path) -> float:
    first, *_, last = [line for line in lines_of(workdir) if line["kind"] == "train"]
    return (last["step"] - first["step"]) / (last["time"]["at"] - first["time"]["at"])


def _measured(folder: Path) -> dict:
    from cnnjax.sweep.folder import write_folder
    from cnnjax.sweep.points import resolved

    changes = {"train.epochs": FLAGS.epochs, "train.batch": FLAGS.batch, "train.precision": FLAGS.precision}
    config = sections.change(get_config(), changes)
    together = resolved(config, sweep()[: FLAGS.points], folder / "sweep")
    single = resolved(config, sweep()[: FLAGS.points], folder / "alone")
    write_folder(folder / "sweep", together)
    spread = [single[i * len(single) // FLAGS.alone] for i in range(min(FLAGS.alone, len(single)))]
    alone = []
    for run in spread:
        file = folder / "point.json"
        file.write_text(sections.to_json(run.config))
        alone.append(_timed("experiments.train", [run.workdir], f"--config={file}", f"--workdir={run.workdir}"))
    flags = (f"--workdir={folder / 'sweep'}", f"--pack={FLAGS.pack}")
    packed = _timed("experiments.sweep", [run.workdir for run in together], *flags)
    several = len(single) / len(alone)
    processes = {key: several * sum(each[key] for each in alone) for key in ("wall", "training")}
    ways = [json.loads(path.read_text())["strategy"] for path in (folder / "sweep" / "packs").glob("*.json")]
    return {
        "points": len(together), "trained alone": len(alone), "epochs": FLAGS.epochs, "batch": FLAGS.batch,
        "data": config.data.name, "strategy": ",".join(ways), "processes": processes, "sweep": packed,
        "ratio": packed["wall"] / processes["wall"],
        "ratio without start-up": packed["training"] / processes["training"],
        "difference": max(_difference(run.workdir, folder / "sweep" / run.name) for run in spread),
        "machine": machine(),
    }  # fmt: skip


def _timed(program: str, workdirs: list[Path], *arguments: str) -> dict:
    """Seconds of a process, and of its training: from its first metric line on, the steps before at that pace."""
    began, clock = time.time(), time.perf_counter()
    done = subprocess.run([sys.executable, "-m", program, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {done.stderr[-1000:]}")
    wall = time.perf_counter() - clock
    lines = lines_of(workdirs[-1])
    first = lines[0]
    share = first["step"] / lines[-1]["step"]
    return {"wall": wall, "training": (began + wall - first["time"]["at"]) / (1 - share)}


def _difference(one: Path, other: Path) -> float:
    """The largest difference between the last metrics of two runs."""
    last = [json.loads((path / "status.json").read_text())["test"] for path in (one, other)]
    return max(abs(last[0][key] - last[1][key]) for key in last[0])


if __name__ == "__main__":
    process.start(main, __doc__, FLAGS)
