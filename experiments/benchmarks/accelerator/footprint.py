"""What a training step holds in memory, beside what `--dry_run` says."""

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.analysis import cost, footprint_bytes
from cnnjax.train.job import prepare
from experiments.benchmarks.accelerator.figures import Told


def memory(told: Told, *, tiny: bool, peer: str) -> None:
    """Megabytes of a step of ResNet-18 on CIFAR-10 as foreseen, as compiled, and as seen by the device at its peak."""
    changes = ("--config.train.devices=1", "--config.train.dispatch=1")
    name = "digits:mlp" if tiny else "cifar10:resnet18"
    config = sections.load(name, changes if tiny else ("--config.train.batch=1024", *changes))
    prepared = prepare(config)
    net = prepared.program.parts(sections.numeric(prepared.config)).net
    foreseen = sum(footprint_bytes(prepared, cost(net, (1, *prepared.program.seen.shape)).values).values())
    state, store = prepared.layout.replicate(prepared.start()), prepared.store(prepared.source.train)
    batches = prepared.layout.share(prepared.batches(prepared.source.train).batches(0, 1), 2)
    program = prepared.step.lower(state, store, batches, np.int32(1)).compile()
    size = program.memory_analysis()
    held = size.argument_size_in_bytes + size.output_size_in_bytes - size.alias_size_in_bytes + size.temp_size_in_bytes
    told("foreseen", foreseen / 1e6, "MB")
    told("as compiled", held / 1e6, "MB")
    told("as compiled over foreseen", held / foreseen, "×")
    jax.block_until_ready(program(state, store, batches, np.int32(1)))
    if seen := (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"):
        told("seen", seen / 1e6, "MB")
        told("seen over foreseen", seen / foreseen, "×")
