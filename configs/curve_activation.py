"""Rectifiers against tanh and sigmoids in LeNet-5 on MNIST, each at its own best learning rate.

python -m experiments.sweep --config=configs/curve_activation.py --workdir=runs/curve_activation
Must show: after 200 steps, each at its best rate, rectifiers are better than tanh, and sigmoids have not left the
plateau that they start on (below 25 %).
On one busy core of an AMD EPYC, jax 0.12.0.1, commit 0dfc8af, 1.7 min of it for 18 points (--pack=turns); test
accuracy, mean ± deviation of two seeds. It holds, rectifiers before tanh by less than their spread:

  rate    rectifiers       tanh            sigmoids
  0.01    95.76 ± 0.85 %   94.72 ± 0.21 %  11.35 %
  0.03    96.44 ± 0.28 %   95.88 ± 0.75 %  11.35 %
  0.1     89.19 ± 0.91 %   95.77 ± 0.56 %  11.35 %
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config():
    """LeNet-5 as taught but for its activation: a fifth of an epoch at a constant rate."""
    return experiment(
        data=section("data", "mnist"),
        model=section("models", "lenet5", pool="max"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.03),
        schedule=section("schedules", "constant"),
        train={"steps": 200, "batch": 64},
        eval={"steps": 200},
    )


def sweep():
    """Three activations, three rates, two seeds."""
    points = grid({"model.activation": ("relu", "tanh", "sigmoid"), "optimizer.lr": (0.01, 0.03, 0.1)})
    return cross(points, seeds(2))
