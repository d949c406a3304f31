"""Batch statistics of small batches: ResNet-20 on CIFAR-10 with batch and group normalisation.

python -m experiments.sweep --config=configs/curve_norm.py --workdir=runs/curve_norm
Must show: batch normalisation over 2 examples is at least 3 points worse than over 64; group normalisation is the same
for both, within 1 point. Wants a GPU; not yet run.
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config():
    """Batches of 64 for all: `model.norm_group` says how many of them share statistics."""
    return experiment(
        data=section("data", "cifar10"),
        model=section("models", "resnet20"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("crop", "flip", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.05, nesterov=True, decay=1e-4),
        schedule=section("schedules", "cosine", warmup_epochs=1.0),
        train={"epochs": 30.0, "batch": 64},
    )


def sweep():
    """Batch statistics over 2, 8 and 64 examples, group normalisation beside them, two seeds."""
    batch = grid({"model.norm": ("batch",), "model.norm_group": (2, 8, 64)})
    return cross([*batch, {"model.norm": "group", "model.norm_group": 0}], seeds(2))
