"""The options that stand beside every entry's own: what a config may say about a run, room by room.

Each function's keyword-only options and defaults are the schema of the config section with its name
(`config.train.batch`), words and bounds included; none of them is ever called for a result.
Durations come in three units, `steps`, `epochs`, `examples` (with a prefix where a room has several): 0 is not given.
"""

from typing import Annotated, Literal

from cnnjax.annotations import (
    AtLeastOne,
    Bounds,
    ChannelWeights,
    Count,
    FilePath,
    HeadWeights,
    NonNegative,
    Positive,
    Rate,
    Sampling,
    Seed,
    Static,
    Text,
    ViewName,
)

__all__ = ["checkpoint", "data", "eval", "optimizer", "report", "schedule", "train"]


def train(
    *,
    steps: Count = 0,
    epochs: Static[NonNegative] = 0.0,
    examples: Count = 0,
    minutes: Static[NonNegative] = 0.0,
    batch: AtLeastOne = 128,
    init: FilePath = "",
    init_head: HeadWeights = "file",
    init_channels: ChannelWeights = "file",
    init_into: Text = "",
    parallel: Literal["auto", "jit", "pmap", "shard_map"] = "auto",
    devices: Count = 0,
    dispatch: Count = 0,
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto",
    nonfinite: AtLeastOne = 3,
    rollbacks: AtLeastOne = 2,
    patience: Count = 0,
) -> dict:
    """Length of the training, examples in a global batch, what it begins from, and how the step is compiled.

    `init` is a file of weights (safetensors, .npz, .pth), another run's workdir (its best checkpoint), one of its
    checkpoints, "torchvision" for the weights that it publishes of this net, or "timm:NAME"; "" draws all weights.
    `init_head` "fresh" draws the output layer alone, whose size may then be new; `init_channels` "adapt" lets the first
    layer read grey for colour, or colour for grey; `init_into` "backbone" fills that part alone, from its own net's.

    `devices` 0 means all; `dispatch` is the number of steps per dispatch, 0 lets the backend decide;
    `nonfinite` bad updates in a row make one roll-back, `rollbacks` of them end the run. `patience` evaluations in a
    row that are no better than the best, by `checkpoint.metric` on held-out examples, end it early (0: none do).

    `minutes` are those that one call may take (0: any): before they are over the state is saved, and the call ends with
    exit code 75; the same command goes on, with as many again. In a sweep they are those of a pack.
    """
    return dict(locals())


def eval(  # the config says eval
    *,
    steps: Count = 0,
    epochs: Static[NonNegative] = 0.0,
    examples: Count = 0,
    batch: Count = 0,
    test: bool = True,
    views: tuple[ViewName, ...] = (),
    view_pixels: Count = 1,
    view_side: AtLeastOne = 224,
    view_scales: tuple[Positive, ...] = (0.75, 1.0, 1.25),
    view_margin: Count = 32,
) -> dict:
    """How often the eval split is measured (never given: ten times a run), in batches of `batch` (0: as in training).

    `test` measures the official test set once, at the end. `views` are seen of every image and their probabilities
    averaged, in all combinations: mirror, shifts (by `view_pixels`), five_crop or ten_crop (of `view_side` pixels),
    scales (`view_scales`, for nets that take any size). tiles are for maps of images larger than memory: one after
    another, of `view_side` pixels with `view_margin` around them, of which the middle counts.
    """
    return dict(locals())


def checkpoint(
    *,
    steps: Count = 0,
    epochs: Static[NonNegative] = 0.0,
    examples: Count = 0,
    minutes: Static[NonNegative] = 0.0,
    keep: AtLeastOne = 2,
    metric: Text = "",
) -> dict:
    """How often the state is saved (never given: as often as evaluated); the last `keep` and the best by `metric` stay.

    `minutes` saves in between as well, wherever so many have passed since the last save.
    `metric` "" is the task's own headline metric.
    """
    return dict(locals())


def report(
    *,
    steps: Count = 0,
    epochs: Static[NonNegative] = 0.0,
    examples: Count = 0,
    tensorboard: bool = True,
    wandb: Text = "",
    curves: bool = True,
    page: bool = True,
    quiet: bool = False,
    hooks: tuple[Text, ...] = (),
) -> dict:
    """How often a line of training metrics is written (never given: 25 times a run) and where else it goes.

    `wandb` names the project to log to; "" logs nowhere. `hooks` are functions of one's own (`my_file:each_epoch`),
    called as hook(step, trained, metrics) after every evaluation; the numbers and matplotlib figures that they return
    by name are logged. `page` writes report.html when a run by itself is done; points of a sweep have the sweep's page.
    """
    return dict(locals())


def optimizer(
    *,
    clip: NonNegative = 0.0,
    accumulate: AtLeastOne = 1,
    ema: Rate = 0.0,
    lookahead: Count = 0,
    sam: NonNegative = 0.0,
    freeze: tuple[Text, ...] = (),
    factors: tuple[tuple[Text, NonNegative], ...] = (),
    groups: tuple[tuple[Text, Text], ...] = (),
) -> dict:
    """What surrounds the optimizer: gradient clipping by global norm, microbatches, averaging, groups of parameters.

    `clip` 0 is off; gradients are divided by norm / clip where that is more than 1, without PyTorch's ε of 1e-6.
    `ema` 0 is off; its decay begins at (1 + t) / (10 + t), where timm's and PyTorch's is constant.
    `lookahead` 0 is off; else every k steps alone the averages go 1 − ema^k (t/T)³ of the way to parameters and
    statistics, which go on from there (Zhang 2019, with the pace of Jordan 2024).
    `sam` 0 is off; else gradients are of a second pass at parameters moved so far up the gradient (Foret 2021), that
    of the whole microbatch on all devices, not of each device's own examples as published.
    `freeze` holds parameter paths or patterns (a norm layer that is frozen runs as in evaluation and keeps its
    statistics); `factors` pairs of pattern and learning-rate factor; `groups` pairs of pattern and the key of a
    section of this section.
    """
    return dict(locals())


def schedule(
    *,
    warmup_steps: Count = 0,
    warmup_epochs: Static[NonNegative] = 0.0,
    warmup_examples: Count = 0,
) -> dict:
    """Linear warm-up of the learning rate before the schedule proper begins.

    Step t of w has (t + 1) / w of it: the first step moves, the last has all (timm begins at a rate of its own,
    PyTorch's `LinearLR` at a third).
    """
    return dict(locals())


def data(
    *,
    seed: Seed = 0,
    sampling: Sampling = "shuffled",
    labelled: Count = 0,
    folds: Count = 0,
    fold: NonNegative = 0.0,
    resident: Literal["auto", "yes", "no"] = "auto",
    workers: Annotated[int, Bounds(-1)] = -1,
) -> dict:
    """Order of the examples (a function of this seed and the step alone) and where they live.

    `sampling` "balanced" shows every class equally often, however many examples it has: each comes once in a round, and
    its examples in turn; "labelled" makes half of each batch of examples that have labels. An epoch is still as many
    examples as there are. With `labelled` N above 0 as many training examples of each class, drawn by `seed`, keep
    their label; the others say nothing of their class (`labelled` 0, `label` 0), and count in tasks that ask for such.
    Of a set in one piece, with `folds` F above 0, every F-th example from `fold` on is measured and the others train:
    their batches have the fold's examples too, which count nothing. Where examples have a `group`, it is every F-th
    group. Points that differ in `fold` are one program.
    `resident`: whole sets on the device as uint8; `workers` processes decode what is streamed (0: a thread
    of the training process; -1: one per core).
    """
    return dict(locals())
