"""What a ConvNet assumes of pictures: on digits whose pixels stand in another order it is no better than an MLP.

python -m experiments.sweep --config=configs/curve_permutation.py --workdir=runs/curve_permutation
Must show: in order the convnet makes at most half of the MLP's errors; permuted, at least as many; the MLP's accuracy
is the same in both orders, within 0.5 points.
On two cores of an AMD EPYC that did other work too, jax 0.12.0.1, commit d187b74, 5 min for 8 points (--pack=turns);
test accuracy, mean of two seeds:

             in order   permuted
  MLP           96.45      96.37 %
  convnet       98.59      94.65 %   (0.40 and 1.47 times the MLP's errors)

The net was chosen after smaller ones, which made 0.72 (LeNet-5) and 0.76 (two convolutions) of the MLP's errors.
`--config=configs/curve_permutation.py:full` trains eight epochs (must show 0.3 points for the MLP); not yet run.
"""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import cross, grid, seeds

_LAYERS = (
    ("conv", 32, 3), ("conv", 32, 3), ("pool", 2), ("conv", 64, 3), ("conv", 64, 3), ("pool", 2), ("dense", 64),
)  # fmt: skip


def get_config(variant: str = "small"):
    """`small`, 400 steps; `full`, eight epochs. No moves: they would say of pixels which ones are neighbours."""
    lengths = {"small": {"steps": 400}, "full": {"epochs": 8.0}}
    length = lengths[one_of(variant, lengths)]
    return experiment(
        data=section("data", "mnist"),
        model=section("models", "convnet", layers=_LAYERS, norm="batch"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=2e-3),
        schedule=section("schedules", "cosine", warmup_steps=30),
        train={**length, "batch": 64},
        eval=length if variant == "small" else {"epochs": 1.0},
    )


def sweep():
    """Two nets, two orders, two seeds."""
    orders = [{f"augment.{split}": names for split in ("train", "eval")} for names in _ORDERS]
    return cross(grid({"model.name": ("mlp", "convnet")}), orders, seeds(2))


_ORDERS = (("normalize",), ("permute", "normalize"))
