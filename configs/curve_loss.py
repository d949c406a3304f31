"""Cross-entropy against the squared error of probabilities: LeNet-5 on MNIST, the same learning rates for both.

python -m experiments.sweep --config=configs/curve_loss.py --workdir=runs/curve_loss
Must show: after 300 steps cross-entropy is more accurate at every rate, for its gradient does not vanish where the net
is surely wrong.
On one busy core of an AMD EPYC, jax 0.12.0.1, commit c6d77c7, 1.2 min of it for 12 points (--pack=turns); test
accuracy, mean ± deviation of two seeds. It holds, at the highest rate within the spread:

  rate    cross-entropy    squared error
  0.003   93.85 ± 0.19 %   90.34 ± 0.47 %
  0.01    96.53 ± 0.04 %   94.52 ± 0.21 %
  0.03    96.71 ± 0.13 %   96.43 ± 0.66 %
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config():
    """LeNet-5 with rectifiers: a third of an epoch at a constant rate."""
    return experiment(
        data=section("data", "mnist"),
        model=section("models", "lenet5", activation="relu", pool="max"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.01),
        schedule=section("schedules", "constant"),
        train={"steps": 300, "batch": 64},
        eval={"steps": 300},
    )


def sweep():
    """Two losses, three rates, two seeds."""
    points = grid({"task.criterion": ("cross_entropy", "squared_error"), "optimizer.lr": (3e-3, 0.01, 0.03)})
    return cross(points, seeds(2))
