"""Batch statistics of few examples: residual nets normalised over 2, 8 and 64 of a batch, and over single examples.

python -m experiments.sweep --config=configs/curve_norm.py --workdir=runs/curve_norm
Must show: after 120 steps, batch normalisation over 2 examples is at least 3 points worse than over 64. (That group
or layer normalisation comes within 2 points of that was asked first, and does not hold.)
On one core of an AMD EPYC, jax 0.12.0.1, commit b35b751, about 3 min for 10 points (--pack=turns); test accuracy,
mean ± deviation of two seeds; the difference is 7.8 points. Layer and group normalisation, which look at one example
alone, are slower here: after 300 steps (`--config.train.steps=300 --config.eval.steps=300`, seed 0, commit 2b127b6)
batch normalisation over 64 had 98.61 %, over 2 98.06, layer 96.67, group 95.83 %.

  batch, 64  97.36 ± 0.20 %      batch, 2  89.58 ± 1.77 %      group  70.83 ± 3.93 %
  batch, 8   95.97 ± 0.59 %      layer     82.36 ± 2.55 %

Batches that really are of 2, 8 and 64 examples: curve_batch.
`--config=configs/curve_norm.py:full` is ResNet-20 for 30 epochs of CIFAR-10, for a GPU; not yet run.
"""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import chain, cross, grid, seeds


def get_config(variant: str = "small"):
    """`small`, half as wide, on the digits; `full`. Batches of 64 for all: `model.norm_group` shares statistics."""
    one_of(variant, ("small", "full"))
    small = variant == "small"
    moves = ("shift",) if small else ("crop", "flip")
    return experiment(
        data=section("data", "digits" if small else "cifar10"),
        model=section("models", "resnet20", width=8 if small else 16),
        task=section("tasks", "classification"),
        augment=augmentation(train=(*moves, "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.05, nesterov=True, decay=1e-4),
        schedule=section("schedules", "cosine", warmup_epochs=1.0),
        train={"steps": 120, "batch": 64} if small else {"epochs": 30.0, "batch": 64},
        eval={"steps": 120} if small else {"epochs": 1.0},
    )


def sweep():
    """Batch statistics over 2, 8 and 64 examples, group and layer normalisation, two seeds."""
    batch = grid({"model.norm": ("batch",), "model.norm_group": (2, 8, 64)})
    return cross(chain(batch, grid({"model.norm": ("group", "layer")})), seeds(2))
