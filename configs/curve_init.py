"""First weights of a deep net: variances that keep a signal's size through sixteen layers, and such that do not.

python -m experiments.sweep --config=configs/curve_init.py --workdir=runs/curve_init
Must show: after 200 steps, each at its best rate, He's weights are at least 5 points better than LeCun's, whose signal
halves its power in every layer of rectifiers, and normal weights of deviation 0.01 are at chance (below 20 %).
On one busy core of an AMD EPYC, jax 0.12.0.1, commit 95ad34d, about 1 min of it for 18 points (--pack=turns); test
accuracy, mean ± deviation of two seeds. It holds:

  rate    He               LeCun             deviation 0.01
  0.003   91.94 ±  1.18 %  15.14 ±  0.98 %   7.78 %
  0.01    86.11 ±  9.82 %  23.61 ± 22.00 %   7.78 %
  0.03    42.50 ± 11.39 %  29.31 ± 20.23 %   7.78 %
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config():
    """Sixteen dense layers of 64 on the digits, no normalisation, a constant rate."""
    return experiment(
        data=section("data", "digits"),
        model=section("models", "mlp", hidden=(64,) * 16),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.01),
        schedule=section("schedules", "constant"),
        train={"steps": 200, "batch": 64},
        eval={"steps": 200},
    )


def sweep():
    """Three initialisations, three rates, two seeds."""
    points = grid({"model.init": ("normal_001", "lecun_normal", "he_normal"), "optimizer.lr": (3e-3, 0.01, 0.03)})
    return cross(points, seeds(2))
