"""What an image costs besides its training step: the gather of the store, augmentation, evaluation."""

import time

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.augment import compose
from cnnjax.train.job import prepare
from cnnjax.train.step import fetch
from experiments.benchmarks.accelerator.figures import Told
from experiments.benchmarks.augment import FACTS, OPTIONS, OURS


def inputs(told: Told, *, tiny: bool, peer: str) -> None:
    """Nanoseconds an image of fetching and augmenting a batch, images a second of evaluation."""
    numbers, calls = np.random.default_rng(0), 2 if tiny else 20
    many, batch = (500, 50) if tiny else (50_000, 2_000)
    store = jax.device_put({"image": numbers.integers(0, 256, (many, 32, 32, 3), np.uint8)})
    index = jax.device_put({"index": numbers.integers(0, many, batch, np.int32)})
    seconds = _each(jax.jit(fetch), calls, store, index)
    told(f"a batch of {batch:,} from the store, 32²", 1e9 * seconds / batch, "ns an image")
    for name in ("cifar",) if tiny else OURS:
        names, _, side = OURS[name]
        rows, side = (4, 32) if tiny else (2_000 if side < 64 else 256, side)
        images = jax.device_put({"image": numbers.integers(0, 256, (rows, side, side, 3), np.uint8)})
        run = jax.jit(lambda key, batch, names=names: compose(FACTS, (*names, "normalize"), OPTIONS)(key, batch))
        seconds = _each(run, calls, jax.random.key(0), images)
        told(f"augmented as {name}, {side}²", 1e9 * seconds / rows, "ns an image")
    _evaluation(told, tiny)


def _evaluation(told: Told, tiny: bool) -> None:
    small = ("--config.data.name=digits", "--config.model.widths=8", "--config.train.batch=200")
    for views in ("mirror,shifts",) if tiny else ("mirror,shifts", ""):
        flags = (*(small if tiny else ()), f"--config.eval.views={views}", "--config.train.devices=1")
        prepared = prepare(sections.load("cifar10", flags))
        split = prepared.source.test
        state, store = prepared.layout.replicate(prepared.start()), prepared.store(split)
        prepared.evaluate(state, split, store)
        began = time.perf_counter()
        prepared.evaluate(state, split, store)
        told(f"evaluated, views: {views or 'one'}", len(split) / (time.perf_counter() - began), "images/s")


def _each(function, calls: int, *arguments) -> float:
    """Seconds of a call, once compiled, of many that are waited for together."""
    jax.block_until_ready(function(*arguments))
    began = time.perf_counter()
    for _ in range(calls):
        found = function(*arguments)
    jax.block_until_ready(found)
    return (time.perf_counter() - began) / calls
