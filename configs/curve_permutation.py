"""What a ConvNet assumes of pictures: on digits whose pixels stand in another order it is no better than an MLP.

python -m experiments.sweep --config=configs/curve_permutation.py --workdir=runs/curve_permutation
Must show: in order the convnet makes at most half of the MLP's errors; permuted, at least as many; the MLP's accuracy
is the same in both orders, within 0.3 points. On MNIST; not yet run.
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config():
    """No moves: they would say of pixels which ones are neighbours."""
    return experiment(
        data=section("data", "mnist"),
        model=section("models", "convnet"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=1e-3),
        schedule=section("schedules", "cosine", warmup_epochs=0.5),
        train={"epochs": 8.0, "batch": 128},
    )


def sweep():
    """Two nets, two orders, two seeds."""
    orders = [{f"augment.{split}": names for split in ("train", "eval")} for names in _ORDERS]
    return cross(grid({"model.name": ("mlp", "convnet")}), orders, seeds(2))


_ORDERS = (("normalize",), ("permute", "normalize"))
