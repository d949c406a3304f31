"""Digits of which few have labels: what the others add, where a net is to answer the same for all that is near them.

python -m experiments.train --config=configs/few_labels.py[:VARIANT] --workdir=runs/few --config.seed=S \\
    --config.data.seed=S
must show: more digits right than `:alone`, which learns from the same labels and nothing else
Not yet run
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "consistent"):
    """`consistent` (two labels a class, and 1,417 digits without), `alone` (the labels), or `all` (every label)."""
    one_of(variant, ("consistent", "alone", "all"))
    few = {} if variant == "all" else {"labelled": 2, "sampling": "labelled"}
    consistent = section("tasks", "consistency", epsilon=6.0)
    return experiment(
        data=section("data", "digits", **few),
        model=section("models", "convnet", layers=(("conv", 16, 5, 2), ("conv", 32, 5, 2), ("dense", 64))),
        task=consistent if variant == "consistent" else section("tasks", "classification"),
        augment=augmentation(train=("shift", "normalize"), eval=("normalize",), shift={"pixels": 3}),
        optimizer=section("optimizers", "adamw", lr=2e-3),
        schedule=section("schedules", "cosine", warmup_epochs=1.0),
        train={"epochs": 60.0, "batch": 64},
    )
