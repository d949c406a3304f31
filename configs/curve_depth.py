"""Plain and residual nets of growing depth on CIFAR-10 (He 2015, figure 6).

python -m experiments.sweep --config=configs/curve_depth.py --workdir=runs/curve_depth
Must show: of the plain nets the one of 56 layers is worse than that of 20, in training too; of the residual ones it is
better. Wants a GPU; not yet run.
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config():
    """ResNet-20 as in the paper, for a third of its epochs."""
    return experiment(
        data=section("data", "cifar10"),
        model=section("models", "resnet20"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("crop", "flip", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.1, decay=1e-4),
        schedule=section("schedules", "multistep", milestones=(0.5, 0.75)),
        train={"epochs": 55.0, "batch": 128},
    )


def sweep():
    """20, 32, 44 and 56 layers, with and without shortcuts, two seeds."""
    blocks = tuple((n, n, n) for n in (3, 5, 7, 9))
    return cross(grid({"model.blocks": blocks, "model.shortcut": ("A", "none")}), seeds(2))
