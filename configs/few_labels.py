"""Digits of which few have labels: what the others add, where a net is to answer the same for all that is near them.

python -m experiments.train --config=configs/few_labels.py[:VARIANT] --workdir=runs/few --config.seed=S \\
    --config.data.seed=S
must show: more digits right than `:alone`, which learns from the same labels and nothing else
of 360 test digits, S = 0, 1, 2, two busy cores of an AMD EPYC, jax 0.12.0.1, commit 50862d7: 91.1, 92.2, 84.4 %, which
is 89.3 ± 4.2; `:alone` 81.1, 80.3, 76.1, which is 79.2 ± 2.7 (n = 3, each by itself 8 to 12 points better); 24 and 13
processor seconds. `:all` 99.7 (n = 1, of 1,237 digits). epsilon was chosen among 1.5, 3, 6 and 10 by 200 digits held
out of S = 0
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
