"""How much augmentation is worth, and how it depends on the number of examples: digits, on a CPU in minutes.

python -m experiments.sweep --config=configs/curve_augmentation.py --workdir=runs/curve_augmentation
Must show: more examples are better with and without shifts, and shifts are better at every size.
On two cores of an AMD EPYC that did other work too, jax 0.12.0.1, commit a7d73a4, 2 min for 12 points (--pack=turns);
test accuracy, mean of two seeds:

  examples   as they are   shifted
       100       87.36 %   89.03 %
       400       95.69 %   98.47 %
     1,437       98.89 %   99.58 %
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, seeds

_TRAIN = 1437


def get_config():
    """A small convnet for a fixed number of steps, whatever the number of examples."""
    return experiment(
        data=section("data", "digits"),
        model=section("models", "lenet5", activation="relu", pool="max"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("shift", "normalize"), eval=("normalize",), shift={"pixels": 3}),
        optimizer=section("optimizers", "adamw", lr=2e-3),
        schedule=section("schedules", "cosine", warmup_steps=30),
        train={"steps": 600, "batch": 64},
        eval={"steps": 600},
    )


def sweep():
    """100, 400 and all examples (the others are held out), with and without shifts, two seeds each."""
    held_out = tuple(_TRAIN - count for count in (100, 400)) + (0,)
    return cross(grid({"data.holdout": held_out, "augment.shift.strength": (0.0, 1.0)}), seeds(2))
