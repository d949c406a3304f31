"""The options that stand beside every entry's own: what a config may say about a run, room by room.

Each function's keyword-only options and defaults are the schema of the config section with its name
(`config.train.batch`); none of them is ever called for a result but `bounds`.
Durations come in three units, `steps`, `epochs`, `examples` (with a prefix where a room has several): 0 is not given.
"""

import math

from cnnjax import Static

__all__ = ["bounds", "checkpoint", "choices", "data", "eval", "optimizer", "report", "schedule", "train"]


def train(
    *,
    steps: int = 0,
    epochs: Static[float] = 0.0,
    examples: int = 0,
    batch: int = 128,
    init: str = "",
    init_head: str = "file",
    init_channels: str = "file",
    parallel: str = "auto",
    devices: int = 0,
    dispatch: int = 0,
    precision: str = "auto",
    nonfinite: int = 3,
    rollbacks: int = 2,
) -> dict:
    """Length of the training, examples in a global batch, what it begins from, and how the step is compiled.

    `init` is a file of weights (safetensors, .npz, .pth), another run's workdir (its best checkpoint) or one of its
    checkpoints; "" draws all weights. `init_head` "fresh" draws the output layer alone, whose size may then be new;
    `init_channels` "adapt" lets the first layer read grey for colour, or colour for grey.

    `devices` 0 means all; `dispatch` is the number of steps per dispatch, 0 lets the backend decide;
    `nonfinite` bad updates in a row make one roll-back, `rollbacks` of them end the run.
    """
    return dict(locals())


def eval(  # the config says eval
    *,
    steps: int = 0,
    epochs: Static[float] = 0.0,
    examples: int = 0,
    batch: int = 0,
    test: bool = True,
    views: tuple = (),
    view_pixels: int = 1,
    view_side: int = 224,
    view_scales: tuple = (0.75, 1.0, 1.25),
) -> dict:
    """How often the eval split is measured (never given: ten times a run), in batches of `batch` (0: as in training).

    `test` measures the official test set once, at the end. `views` are seen of every image and their probabilities
    averaged, in all combinations: mirror, shifts (by `view_pixels`), five_crop or ten_crop (of `view_side` pixels),
    scales (`view_scales`, for nets that take any size).
    """
    return dict(locals())


def checkpoint(
    *,
    steps: int = 0,
    epochs: Static[float] = 0.0,
    examples: int = 0,
    keep: int = 2,
    metric: str = "",
) -> dict:
    """How often the state is saved (never given: as often as evaluated); the last `keep` and the best by `metric` stay.

    `metric` "" is the task's own headline metric.
    """
    return dict(locals())


def report(
    *,
    steps: int = 0,
    epochs: Static[float] = 0.0,
    examples: int = 0,
    tensorboard: bool = True,
    wandb: str = "",
    curves: bool = True,
    quiet: bool = False,
) -> dict:
    """How often a line of training metrics is written (never given: 25 times a run) and where else it goes.

    `wandb` names the project to log to; "" logs nowhere.
    """
    return dict(locals())


def optimizer(
    *,
    clip: float = 0.0,
    accumulate: int = 1,
    ema: float = 0.0,
    freeze: tuple[str, ...] = (),
    factors: tuple[tuple[str, float], ...] = (),
    groups: tuple[tuple[str, str], ...] = (),
) -> dict:
    """What surrounds the optimizer: gradient clipping by global norm, microbatches, averaging, groups of parameters.

    `clip` 0 is off; `ema` 0 is off; `freeze` holds parameter paths or patterns (a norm layer that is frozen runs as in
    evaluation and keeps its statistics); `factors` pairs of pattern and learning-rate factor;
    `groups` pairs of pattern and the key of a section of this section.
    """
    return dict(locals())


def schedule(
    *,
    warmup_steps: int = 0,
    warmup_epochs: Static[float] = 0.0,
    warmup_examples: int = 0,
) -> dict:
    """Linear warm-up of the learning rate before the schedule proper begins."""
    return dict(locals())


def data(
    *,
    seed: int = 0,
    resident: str = "auto",
    workers: int = -1,
) -> dict:
    """Order of the examples (a function of this seed and the step alone) and where they live.

    `resident` auto|yes|no: whole sets on the device as uint8; `workers` processes decode what is streamed (0: a thread
    of the training process; -1: one per core).
    """
    return dict(locals())


_BOUNDS = {  # by the last word of the path: lowest, highest, is the highest allowed
    "lr": (0.0, math.inf, False),
    "decay": (0.0, math.inf, False),
    "momentum": (0.0, 1.0, False),
    "b1": (0.0, 1.0, False),
    "b2": (0.0, 1.0, False),
    "eps": (0.0, math.inf, False),
    "ema": (0.0, 1.0, False),
    "clip": (0.0, math.inf, False),
    "accumulate": (1, math.inf, False),
    "smoothing": (0.0, 1.0, False),
    "dropout": (0.0, 1.0, False),
    "drop_path": (0.0, 1.0, False),
    "rate": (0.0, 1.0, False),
    "batch": (0, math.inf, False),
    "steps": (0, math.inf, False),
    "epochs": (0, math.inf, False),
    "examples": (0, math.inf, False),
    "holdout": (0, math.inf, False),
    "keep": (1, math.inf, False),
    "seed": (0, 2**32, False),
    "latent": (1, math.inf, False),
    "pixels": (0, math.inf, False),
    "padding": (0, math.inf, False),
    "norm_group": (0, math.inf, False),
    "devices": (0, math.inf, False),
    "dispatch": (0, math.inf, False),
    "workers": (-1, math.inf, False),
    "nonfinite": (1, math.inf, False),
    "rollbacks": (1, math.inf, False),
    "strength": (0.0, math.inf, False),
    "floor": (0.0, 1.0, True),
}

_AT_LEAST_ONE = ("train.batch", "model.width", "model.depth")

_CHOICES = {
    "train.init_head": ("file", "fresh"),
    "train.init_channels": ("file", "adapt"),
    "train.parallel": ("auto", "jit", "pmap", "shard_map"),
    "train.precision": ("auto", "float32", "bfloat16", "float64"),
    "data.resident": ("auto", "yes", "no"),
}


def bounds(path: str) -> tuple[float, float, bool]:
    """Lowest value, highest value and whether the highest is allowed for the option at a dotted config path."""
    word = path.rpartition(".")[2]
    for unit in ("steps", "epochs", "examples"):
        if word.endswith(f"_{unit}"):
            word = unit
    low, high, closed = _BOUNDS.get(word, (-math.inf, math.inf, False))
    return (1, high, closed) if path in _AT_LEAST_ONE else (low, high, closed)


def choices(path: str) -> tuple[str, ...]:
    """The words allowed for the option at a dotted config path; () where any will do."""
    return _CHOICES.get(path, ())
