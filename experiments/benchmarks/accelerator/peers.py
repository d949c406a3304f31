"""One training step beside PyTorch's fastest: channels last, autocast and torch.compile, in the same minutes."""

import functools
import math
import statistics
import time

import jax

from cnnjax import ops
from cnnjax.analysis import multiplies
from experiments.benchmarks import timing
from experiments.benchmarks.accelerator.figures import Told
from experiments.benchmarks.networks import OURS
from experiments.benchmarks.steps import compiled, step_of

_BATCHES = {  # enough that a card is busy, where the table for CPUs has few examples
    "lenet5": 1024, "tdnn": 256, "resnet18_cifar": 512, "mobilenet_v2": 128, "c3d": 32, "unet": 32, "vgg11_bn": 64,
    "alexnet": 256, "densenet121": 64, "googlenet": 128, "resnet50": 128,
}  # fmt: skip


def resnet50(told: Told, *, tiny: bool, peer: str) -> None:
    """ResNet-50 in batches of 256 and 512."""
    names = ("lenet5:4",) if tiny else ("resnet50:256", "resnet50:512")
    other = _peer(told, tiny, peer)
    for name in names:  # a batch of 512 fills a card that both would share
        _against(told, other, name, tiny, together=name == names[0], fast=0.0 if tiny else 2500.0)
    if other:
        other.close()


def nets(told: Told, *, tiny: bool, peer: str) -> None:
    """The networks of the table for CPUs, and the geometric mean over PyTorch."""
    names = ("lenet5:4",) if tiny else [f"{name}:{batch}" for name, batch in _BATCHES.items()]
    other, ratios = _peer(told, tiny, peer), []
    for name in names:
        ratios += _against(told, other, name, tiny, together=True)
        if ratios:
            mean = math.exp(statistics.fmean(map(math.log, ratios)))
            told(f"geometric mean of {len(ratios)} over PyTorch", mean, "×", at_least=1.0)
        jax.clear_caches()
    if other:
        other.close()


def _peer(told: Told, tiny: bool, python: str) -> timing.Peer | None:
    if not python:
        told("PyTorch", "not here")
        return None
    other = timing.Peer(python, "torch_peer.py", _precision(tiny))
    told("PyTorch", f"{other.versions['torch']} on {other.versions['device']}")
    return other


def _precision(tiny: bool) -> str:
    return "bfloat16" if tiny else timing.precision_of("auto")


def _against(
    told: Told, peer: timing.Peer | None, name: str, tiny: bool, *, together: bool, fast: float = 0.0
) -> list[float]:
    """Times a step of a network on both sides; how many times as fast as PyTorch it is, if it is there.

    `together` compiles both at once and measures in turns; else the peer comes first, and gives its memory back.
    """
    rounds, count = (1, 2) if tiny else (3, 10)
    mode = "eager_cl" if tiny else "compile_cl"
    theirs, turns = [], {}
    if peer:
        peer.begin(name, mode, 0)
        if not together:
            mode = _mode_of(peer, name, mode)
            theirs = peer.ask(name, mode, rounds * count) if mode else []
            peer.ask("forget")
    began = time.perf_counter()
    step, state, batch = step_of(name, OURS, _precision(tiny))
    work = 2 * multiplies(step, state, *batch)
    turns["cnnjax"] = compiled(step, state, batch, ops.compiler_options(jax.default_backend()))
    told(f"{name}: compiled, and one step, in", time.perf_counter() - began, "s")
    if peer and together and (mode := _mode_of(peer, name, mode)):
        turns["torch"] = functools.partial(peer.ask, name, mode)
    found = timing.interleaved(turns, rounds, count)
    milliseconds = found["cnnjax"]["wall"]
    images = 1e3 * len(batch[0]) / milliseconds
    told(f"{name}: a step", milliseconds, "ms")
    told(f"{name}: {work / milliseconds / 1e9:.3g} TFLOP/s, that is", images, "images/s", at_least=fast or -math.inf)
    other = found["torch"]["wall"] if "torch" in found else timing.summary(theirs)["wall"] if theirs else 0.0
    if not other:
        return []
    told(f"{name}: PyTorch, {mode}", 1e3 * len(batch[0]) / other, "images/s")
    told(f"{name}: over PyTorch", other / milliseconds, "×", at_least=1.0)
    return [other / milliseconds]


def _mode_of(peer: timing.Peer, name: str, mode: str) -> str:
    """The mode that the peer has got ready, as it was asked: without channels last where the net has no such form."""
    if peer.answer() is not None:
        return mode
    mode = mode.removesuffix("_cl")
    return mode if peer.ask(name, mode, 0) is not None else ""
