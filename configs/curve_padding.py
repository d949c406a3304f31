"""What padding is for: LeNet-5 with no, half and full padding, on MNIST with its empty border and without.

python -m experiments.sweep --config=configs/curve_padding.py --workdir=runs/curve_padding
Must show: with the border that the digits come with, padding is worth nothing (all within 0.3 points); where the
strokes reach the edge, each pixel of padding is worth something: none < 1 < 2, half a point from none to 2 ("same").
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import chain, cross, grid, seeds


def get_config():
    """LeNet-5 with rectifiers, 400 steps; `model.padding` is that of C1, 5×5: 0 is valid, 2 is same."""
    return experiment(
        data=section("data", "mnist"),
        model=section("models", "lenet5", activation="relu", pool="max"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=2e-3),
        schedule=section("schedules", "cosine", warmup_steps=30),
        train={"steps": 400, "batch": 64},
        eval={"steps": 400},
    )


def sweep():
    """The whole 28×28 pixels and the middle 20×20, three paddings, two seeds."""
    names = ("center_crop", "normalize")
    middle = {"augment.train": names, "augment.eval": names, "augment.center_crop.side": 20}
    return cross(chain([{}], [middle]), grid({"model.padding": (0, 1, 2)}), seeds(2))
