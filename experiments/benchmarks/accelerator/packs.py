"""What many members, or many steps, of one program cost on this device."""

import os
from pathlib import Path

from cnnjax import config as sections
from cnnjax.train.job import prepare
from experiments.benchmarks import dispatch, sweeps
from experiments.benchmarks.accelerator.figures import Told


def members(told: Told, *, tiny: bool, peer: str) -> None:
    """Time of 16 LeNets as one program over that of 16 alone; steps of members a second for 1 to 64 of them."""
    root = os.environ.get("CNNJAX_DATA", "")
    if not Path(root, "mnist").is_dir() or tiny:
        os.environ["CNNJAX_DATA"] = root = ""  # `sweeps` then takes the digits
    prepared = prepare(sections.change(sweeps.get_config(), {"train.batch": 32} if tiny else {}))
    told("data", prepared.config["data"]["name"])
    seconds, many, speeds = (0.02 if tiny else 1.0), 2 if tiny else 16, {}
    strategies = ("turns", "vmap") if tiny else ("turns", "map", "vmap")
    steps = 5 * prepared.plan.steps_per_epoch
    for count in (1, many) if tiny else (1, many, 4, 64):
        for strategy in strategies:
            speeds[count, strategy] = sweeps.speed(prepared, count, strategy, seconds)
            told(f"{count} by {strategy}", speeds[count, strategy], "steps of members/s")
        if count == many:
            alone, best = speeds[1, "turns"], max(strategies, key=lambda strategy: speeds[many, strategy])
            together = many * steps / speeds[many, best]
            told(f"five epochs of {many} together, by {best}", together, "s")
            told("five epochs of one alone", steps / alone, "s")
            told(f"{many} together over {many} × one alone", together * alone / steps / many, "×", at_most=0.15)


def dispatches(told: Told, *, tiny: bool, peer: str) -> None:
    """Milliseconds a step of small nets by steps per dispatch."""
    nets = {"mlp": [1, 4]} if tiny else {"lenet5": [1, 4, 16, 64], "resnet20": [1, 16]}
    for model, counts in nets.items():
        (row,) = dispatch.measured([model], counts, 1 if tiny else 5).values()
        for words, milliseconds in row.items():
            told(f"{model}, {words}", milliseconds, "ms a step")
