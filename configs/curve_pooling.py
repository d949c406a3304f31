"""How to make maps smaller: maximum, mean, root of squares, or a stride in the convolution, on Fashion-MNIST.

python -m experiments.sweep --config=configs/curve_pooling.py --workdir=runs/curve_pooling
Must show: all four within 1.5 points, max pooling at least as good as the mean, within 0.3.
On one busy core of an AMD EPYC, jax 0.12.0.1, commit 2351e88, 2.6 min of it for 8 points (--pack=turns); test accuracy,
mean ± deviation of two seeds. It holds, and the stride, which multiplies least, is the worst:

  lp 88.58 ± 0.52 %   avg 88.38 ± 0.22 %   max 88.23 ± 0.18 %   none 87.28 ± 0.12 %

`--config=configs/curve_pooling.py:full` is the convnet at its full width for eight epochs; not yet run.
"""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import cross, grid, seeds

_SMALL = (("conv", 16, 3), ("pool", 2), ("conv", 32, 3), ("pool", 2), ("dense", 64))
_FULL = (("conv", 32, 3), ("pool", 2), ("conv", 64, 3), ("pool", 2), ("dense", 128))


def get_config(variant: str = "small"):
    """`small`, 800 steps of a narrow net; `full`."""
    one_of(variant, ("small", "full"))
    small = variant == "small"
    return experiment(
        data=section("data", "fashion_mnist"),
        model=section("models", "convnet", layers=_SMALL if small else _FULL, norm="batch"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",) if small else ("shift", "flip", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=2e-3),
        schedule=section("schedules", "cosine", warmup_steps=40),
        train={"steps": 800, "batch": 64} if small else {"epochs": 8.0, "batch": 128},
        eval={"steps": 800} if small else {"epochs": 1.0},
    )


def sweep():
    """Four ways, two seeds."""
    return cross(grid({"model.pool": ("max", "avg", "lp", "none")}), seeds(2))
