"""The one place that derives numbers: from a config, the facts of a data set and the devices to a `Plan`."""

import dataclasses
import math
from collections.abc import Mapping

import jax

from cnnjax.fields import Facts

__all__ = ["Plan", "resolve"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Every static number of a run; all cadences are in steps and multiples of `dispatch`."""

    steps: int
    batch: int
    accumulate: int
    warmup: int
    report: int
    evaluate: int
    save: int
    dispatch: int
    parallel: str
    devices: int
    precision: str
    eval_batch: int
    steps_per_epoch: float
    nonfinite: int
    rollbacks: int
    ema: bool
    lookahead: int = 0
    sam: bool = False
    freeze: tuple = ()
    factors: tuple = ()
    groups: tuple = ()

    def next_stop(self, step: int) -> int:
        """The first step after `step` at which the host has something to do."""
        return min(self.steps, *(step + every - step % every for every in (self.report, self.evaluate, self.save)))


def duration(section: Mapping, prefix: str, batch: int, examples: int, where: str) -> int:
    """Steps of the duration that a section gives in any one unit, 0 when it gives none."""
    given = {unit: section[f"{prefix}{unit}"] for unit in ("steps", "epochs", "examples") if section[f"{prefix}{unit}"]}
    if len(given) > 1:
        words = " and ".join(f"{where}.{prefix}{unit}={value}" for unit, value in given.items())
        raise ValueError(f"{words} are both given; keep one and set the other to 0")
    if "steps" in given:
        return given["steps"]
    if "epochs" in given:
        return max(1, round(given["epochs"] * examples / batch))
    return max(1, round(given["examples"] / batch)) if given else 0


def _parallel(wanted: str, devices: int, processes: int) -> str:
    if wanted == "auto":
        return "shard_map" if processes > 1 else "jit" if devices == 1 else "pmap"
    if wanted == "pmap" and processes > 1:
        raise ValueError(
            "train.parallel is 'pmap', which works in one process; use 'shard_map' or 'auto' across processes"
        )
    return wanted


def _aligned(cadence: int, dispatch: int) -> int:
    """The cadence, rounded to whole dispatches."""
    return max(dispatch, round(cadence / dispatch) * dispatch)


# Steps per dispatch where the config leaves it open. On CPU the loop gains 5 % of LeNet-5's step, too little to care
# (experiments/benchmarks/results/dispatch_cpu.json); on an H200 its step alone takes 1.05 ms, one of 16 0.36 ms, one of
# 64 0.27 ms (accelerator_h200.json there).
_DISPATCH = {"cpu": 1, "gpu": 16, "tpu": 16}


def _dispatch(wanted: int, platform: str, report: int) -> int:
    """Steps per dispatch: what was asked for, or as many as the backend profits from and the report cadence allows."""
    most = wanted or _DISPATCH.get(platform, 1)
    return most if wanted else max(n for n in range(1, most + 1) if report % n == 0)


def resolve(config: Mapping, facts: Facts, available: int, *, trains: bool = True) -> Plan:
    """The plan of a run of `config` on a data set with `facts` where `available` devices are at hand.

    One that no longer `trains` takes as many as there are of the devices that it wants.
    """
    _refuse_schedule(config)
    train, batch = config["train"], config["train"]["batch"]
    examples = facts.counts["train"]
    accumulate = config["optimizer"]["accumulate"]
    devices = (train["devices"] if trains else min(train["devices"], available)) or available
    if devices > available:
        raise ValueError(f"train.devices is {devices}; {available} available here (0 takes all)")
    if batch > examples:
        raise ValueError(f"train.batch is {batch}, but the training split has {examples} examples; at most {examples}")
    if trains and batch % (devices * accumulate):
        raise ValueError(_indivisible(batch, devices, accumulate))
    steps = duration(train, "", batch, examples, "train")
    if not steps:
        raise ValueError("train.steps, train.epochs and train.examples are all 0; give one of them")
    evaluate = min(steps, duration(config["eval"], "", batch, examples, "eval") or math.ceil(steps / 10))
    report = min(steps, duration(config["report"], "", batch, examples, "report") or math.ceil(steps / 25))
    save = min(steps, duration(config["checkpoint"], "", batch, examples, "checkpoint") or evaluate)
    platform = jax.default_backend()
    dispatch = _dispatch(train["dispatch"], platform, report)
    precision = train["precision"]
    if precision == "float64" and not jax.config.jax_enable_x64:
        raise ValueError("train.precision is 'float64', but JAX keeps to 32 bits; set JAX_ENABLE_X64=1")
    eval_batch = config["eval"]["batch"] or batch // accumulate
    return Plan(
        steps=_aligned(steps, dispatch),
        batch=batch,
        accumulate=accumulate,
        warmup=min(duration(config["schedule"], "warmup_", batch, examples, "schedule"), steps),
        report=_aligned(report, dispatch),
        evaluate=_aligned(evaluate, dispatch),
        save=_aligned(save, dispatch),
        dispatch=dispatch,
        parallel=_parallel(train["parallel"], devices, jax.process_count()),
        devices=devices,
        precision={"auto": "float32" if platform == "cpu" else "bfloat16"}.get(precision, precision),
        eval_batch=math.ceil(eval_batch / devices) * devices,
        steps_per_epoch=examples / batch,
        nonfinite=train["nonfinite"],
        rollbacks=train["rollbacks"],
        ema=config["optimizer"]["ema"] > 0,
        lookahead=_lookahead(config["optimizer"], steps),
        sam=config["optimizer"].get("sam", 0.0) > 0,
        freeze=tuple(config["optimizer"]["freeze"]),
        factors=tuple(config["optimizer"]["factors"]),
        groups=tuple(config["optimizer"]["groups"]),
    )


def _lookahead(optimizer: Mapping, steps: int) -> int:
    every = optimizer.get("lookahead", 0)
    if every > steps:
        raise ValueError(f"optimizer.lookahead is {every}, but there are {steps} steps: the averages would never move")
    if every and not optimizer["ema"]:
        raise ValueError(f"optimizer.lookahead is {every}, but optimizer.ema is 0; give it a rate, as 0.95")
    return every


def _refuse_schedule(config: Mapping) -> None:
    """Refuses a rate that goes up and down where the optimizer averages over its steps instead."""
    optimizer, schedule = config["optimizer"], config["schedule"]
    names = {part.get("name") for part in (optimizer, *optimizer.values()) if isinstance(part, Mapping)}
    warm = any(schedule.get(f"warmup_{unit}") for unit in ("steps", "epochs", "examples"))
    if "schedule_free" in names and (schedule["name"] != "constant" or warm):
        raise ValueError(
            f"optimizer.name is 'schedule_free', which averages over its steps, but schedule.name is "
            f"{schedule['name']!r}{' with a warm-up' if warm else ''}; set it to constant, without one"
        )


def _indivisible(batch: int, devices: int, accumulate: int) -> str:
    unit = devices * accumulate
    lower, upper = batch // unit * unit, math.ceil(batch / unit) * unit
    fits = f"{lower} or {upper}" if lower else f"{upper}"
    several = "s don't" if devices > 1 else " doesn't"
    what = f"{devices} device{several} divide"
    if accumulate > 1:
        what = f"{devices} × optimizer.accumulate={accumulate} don't divide"
    return f"train.batch is {batch}, which {what}; the nearest that fit: {fits}"
