"""CIFAR-10's recipes: seconds from the first weight to the last step, compilation apart, and how good they are."""

import statistics
import time

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.data import Stream
from cnnjax.train.job import PreparedRun, prepare
from cnnjax.train.members import PackState
from experiments.benchmarks.accelerator.figures import Told

SEEDS, FEW = 25, 4  # runs of the short recipe, and of the long one
_SMALL = (
    *("--config.data.name=digits", "--config.model.widths=8", "--config.train.batch=200"),
    *("--config.train.epochs=0", "--config.train.steps=6", "--config.train.dispatch=2"),
)


def cifar(told: Told, *, tiny: bool, peer: str) -> None:
    """One run of `fast`, 25 seeds of it as a pack in turns."""
    hopper = any(name in jax.devices()[0].device_kind for name in ("H100", "H200", "B200"))
    prepared = _prepared("cifar10", tiny)
    told("94 %: until all is compiled", _warmed(prepared), "s")
    trained, measured, (accuracy,) = _runs(prepared, [0])
    told("94 %: one run, weights drawn and trained", trained, "s", at_most=1.5 if hopper else 2.5)
    told("94 %: its test set in six views", measured, "s")
    told("94 %: its accuracy", 100 * accuracy, "%")
    seeds = range(2 if tiny else SEEDS)
    trained, measured, found = _runs(prepared, list(seeds))
    told(f"94 %: {len(seeds)} seeds as one pack", trained, "s")
    told("94 %: a run of the pack", trained / len(seeds), "s", at_most=1.5 if hopper else 2.5)
    told("94 %: mean accuracy", 100 * statistics.fmean(found), "%", at_least=94.0)
    told("94 %: standard deviation", 100 * statistics.stdev(found), "%")


def cifar96(told: Told, *, tiny: bool, peer: str) -> None:
    """Runs of `fast96`, one after another."""
    prepared = _prepared("cifar10:fast96", tiny)
    told("96 %: until all is compiled", _warmed(prepared), "s")
    runs = [_runs(prepared, [seed]) for seed in range(2 if tiny else FEW)]
    found = [accuracy for _, _, accuracies in runs for accuracy in accuracies]
    seconds = statistics.fmean(trained for trained, _, _ in runs)
    told(f"96 %: a run of {len(runs)}, weights drawn and trained", seconds, "s", at_most=20.0)
    told("96 %: mean accuracy", 100 * statistics.fmean(found), "%", at_least=96.0)
    told("96 %: standard deviation", 100 * statistics.stdev(found), "%")


def _prepared(name: str, tiny: bool) -> PreparedRun:
    """The recipe, reported once at its end, so that nothing but training is timed."""
    config = sections.load(name, _SMALL if tiny else ("--config.train.dispatch=50",))
    steps = {"eval.epochs": 0.0, "eval.steps": 10**6, "report.steps": 10**6, "train.devices": 1}
    return prepare(sections.change(config, steps))


def _warmed(prepared: PreparedRun) -> float:
    """Seconds until weights, step and evaluation are compiled."""
    began = time.perf_counter()
    pack = _begun(prepared, [0])
    batches = prepared.batches(prepared.source.train).batches(0, prepared.plan.dispatch)
    jax.block_until_ready(pack.advance([batches], prepared.plan.dispatch))
    pack.evaluate(prepared.source.test, raw=False)
    return time.perf_counter() - began


def _begun(prepared: PreparedRun, seeds: list[int]) -> PackState:
    initial, numbers = prepared.initial(), sections.numeric(prepared.config)
    pack = PackState(prepared, [()] * len(seeds), "turns", shared=False)
    pack.begin([initial(seed, numbers) for seed in seeds])
    return pack


def _runs(prepared: PreparedRun, seeds: list[int]) -> tuple[float, float, list[float]]:
    """Seconds of drawing and training, seconds of measuring, and test accuracies of runs that differ in all seeds."""
    plan, train = prepared.plan, prepared.source.train
    began, before = time.perf_counter(), None
    pack = _begun(prepared, seeds)
    streams = [Stream(train, batch=plan.batch, seed=seed, accumulate=plan.accumulate) for seed in seeds]
    for step in range(0, plan.steps, plan.dispatch):
        marker = pack.advance([stream.batches(step, plan.dispatch) for stream in streams], plan.dispatch)
        jax.block_until_ready(before)
        before = marker
    jax.block_until_ready((before, pack.states))
    trained, began = time.perf_counter() - began, time.perf_counter()
    found = pack.evaluate(prepared.source.test, raw=False)
    accuracies = [float(np.float64(each["accuracy"])) for each in found]
    return trained, time.perf_counter() - began, accuracies
