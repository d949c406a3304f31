"""What padding is for: LeNet-5 with no, half and full padding, on MNIST with its empty border and without.

python -m experiments.sweep --config=configs/curve_padding.py --workdir=runs/curve_padding
Must show: full padding ("same") is at least 0.3 points better than none ("valid"), and worth twice as much where the
strokes reach the edge. (Written after the result: that padding is worth nothing with the border was expected, and is
not so, for maps that stay larger also say more.)
On one busy core of an AMD EPYC, jax 0.12.0.1, commit 386bdcb, 2.4 min of it for 12 points (--pack=turns); test
accuracy, mean ± deviation of two seeds. Half padding makes 20×20 an odd 9 and 5: pooling drops a row.

  padding   28×28            the middle 20×20
  0         96.97 ± 0.09 %   95.22 ± 0.28 %
  1         97.11 ± 0.04 %   95.08 ± 0.44 %
  2         97.53 ± 0.02 %   96.55 ± 0.14 %
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
