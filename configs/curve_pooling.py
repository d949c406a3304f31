"""How to make maps smaller: maximum, mean, root of squares, or a stride in the convolution, on Fashion-MNIST.

python -m experiments.sweep --config=configs/curve_pooling.py --workdir=runs/curve_pooling
Must show: all four within 1.5 points, max pooling at least as good as the mean, within 0.3. Not yet run.
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config():
    """The small convnet, a few epochs."""
    return experiment(
        data=section("data", "fashion_mnist"),
        model=section("models", "convnet", norm="batch"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("shift", "flip", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=2e-3),
        schedule=section("schedules", "cosine", warmup_epochs=0.5),
        train={"epochs": 8.0, "batch": 128},
    )


def sweep():
    """Four ways, two seeds."""
    return cross(grid({"model.pool": ("max", "avg", "lp", "none")}), seeds(2))
