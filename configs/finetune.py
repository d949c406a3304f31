"""LeNet-5 that has learned digits (`make train`), fine-tuned on 208 printed letters.

python -m experiments.train --config=configs/finetune.py:VARIANT --config.seed=S --workdir=runs/VARIANTS, S = 0 … 3
on two cores of an AMD EPYC, jax 0.12.0.1, commit 9d4373c, 15 s: letters of eight faces never seen read right,
digits 76.9, 76.0, 77.9, 83.7 % (78.6 ± 3.5, n = 4), scratch 64.9, 78.4, 66.3, 72.1 % (70.4 ± 6.1)
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "digits"):
    """From the digits of `make train`, the first layer frozen, the second slowed down; `scratch`: from nothing."""
    begin = {"init": "runs/digits", "init_head": "fresh"}
    begins, gently = {
        "digits": (begin, {"freeze": ("c1",), "factors": (("c3", 0.3),)}),
        "scratch": ({}, {}),
    }[one_of(variant, ("digits", "scratch"))]
    return experiment(
        data=section("data", "letters"),
        model=section("models", "lenet5", activation="relu", pool="max"),
        task=section("tasks", "classification"),
        augment=augmentation(train=("shift", "normalize"), eval=("normalize",), shift={"pixels": 3}),
        optimizer=section("optimizers", "adamw", lr=2e-3, **gently),
        schedule=section("schedules", "cosine", warmup_epochs=1.0),
        train={"epochs": 15.0, "batch": 26, **begins},
    )
