"""First weights of a deep net: variances that keep a signal's size through sixteen layers, and such that do not.

python -m experiments.sweep --config=configs/curve_init.py --workdir=runs/curve_init
Must show: after 200 steps, each at its best rate, He's weights are at least 5 points better than LeCun's, whose signal
halves its power in every layer of rectifiers, and normal weights of deviation 0.01 are at chance (below 20 %).
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
