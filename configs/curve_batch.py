"""Batches of 2, 8 and 64 with a rate in proportion: group normalisation does not mind, nor must a short net.

python -m experiments.sweep --config=configs/curve_batch.py --workdir=runs/curve_batch
Must show: group normalisation is flat, within a point from 2 to 64 examples; so is batch normalisation in a net of
eight layers, where what two examples do to its statistics has few layers to grow (curve_norm has twenty).
On two cores of an AMD EPYC that did other work too, jax 0.12.0.1, commit 0d0293a, 13 min for 12 points (--pack=turns);
test accuracy, mean of two seeds:

  examples     2       8      64
  batch      99.58   99.58   99.31 %
  group      99.17   99.03   99.03 %
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, seeds, zipped

_RATE = 0.1  # at 64 examples


def get_config():
    """A residual net of eight layers on the digits, for 20 epochs whatever the batch."""
    return experiment(
        data=section("data", "digits"),
        model=section("models", "resnet20", blocks=(1, 1, 1)),
        task=section("tasks", "classification"),
        augment=augmentation(train=("shift", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=_RATE, nesterov=True, decay=1e-4),
        schedule=section("schedules", "cosine", warmup_epochs=1.0),
        train={"epochs": 20.0, "batch": 64},
        eval={"epochs": 20.0},
        report={"epochs": 5.0},
    )


def sweep():
    """Batches of 2, 8 and 64, batch and group normalisation, two seeds."""
    sizes = (2, 8, 64)
    batches = zipped({"train.batch": sizes, "optimizer.lr": tuple(_RATE * size / 64 for size in sizes)})
    return cross(grid({"model.norm": ("batch", "group")}), batches, seeds(2))
