"""How much accuracy depends on the seed alone: LeNet-5 on MNIST, twenty times.

python -m experiments.sweep --config=configs/curve_seeds.py --workdir=runs/curve_seeds
Must show: all twenty within 1.5 points, with a standard deviation of at least 0.1: two single runs must differ by three
times that, or their difference says nothing.
On one busy core of an AMD EPYC, jax 0.12.0.1, commit d84db23, 1.5 min of it for 20 points (--pack=turns); test
accuracy. It holds: 96.86 ± 0.20 %, from 96.56 to 97.26 %.
"""

from cnnjax.config import augmentation, experiment, section
from cnnjax.sweep.space import seeds


def get_config():
    """LeNet-5 with rectifiers, a third of an epoch: one order of the examples for all, but other weights."""
    return experiment(
        data=section("data", "mnist"),
        model=section("models", "lenet5", activation="relu", pool="max"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=2e-3),
        schedule=section("schedules", "cosine", warmup_steps=30),
        train={"steps": 300, "batch": 64},
        eval={"steps": 300},
    )


def sweep():
    """Twenty seeds: one program."""
    return seeds(20)
