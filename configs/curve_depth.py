"""Plain and residual nets of growing depth (He 2015, figure 6).

python -m experiments.sweep --config=configs/curve_depth.py --workdir=runs/curve_depth
Must show: of the plain nets the one of 56 layers is worse than that of 20, in training too; of the residual ones it is
no worse, within a point.
On two cores of an AMD EPYC that did other work too, jax 0.12.0.1, commit d187b74, 16 min for 8 points (--pack=turns);
accuracy, mean of two seeds:

               20 layers   56 layers
  plain           99.44       86.53 %    (in training 99.84 and 84.83 %)
  residual        99.58       98.61 %    (in training 99.93 and 99.38 %)

600 steps were chosen after fewer: in 120 no net of 56 layers had learnt (28 to 38 %, 19 to 35 % plain), in 400 (one
seed) residual nets fell from 98.89 to 97.50 %, plain ones from 99.44 to 78.33 %.
`--config=configs/curve_depth.py:full` is that figure, on CIFAR-10 with a third of its epochs, for a GPU; not yet run.
"""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config(variant: str = "small"):
    """`small`, nets of half the width on the digits; `full`, ResNet-20 as in the paper."""
    one_of(variant, ("small", "full"))
    small = variant == "small"
    moves = ("shift",) if small else ("crop", "flip")
    return experiment(
        data=section("data", "digits" if small else "cifar10"),
        model=section("models", "resnet20", width=8 if small else 16),
        task=section("tasks", "classification"),
        augment=augmentation(train=(*moves, "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "sgd", lr=0.1, decay=1e-4),
        schedule=section("schedules", "multistep", milestones=(0.5, 0.75)),
        train={"steps": 600, "batch": 64} if small else {"epochs": 55.0, "batch": 128},
        eval={"steps": 600} if small else {"epochs": 5.0},
    )


def sweep():
    """20 and 56 layers, with and without shortcuts, two seeds."""
    blocks = tuple((n, n, n) for n in (3, 9))
    return cross(grid({"model.blocks": blocks, "model.shortcut": ("A", "none")}), seeds(2))
