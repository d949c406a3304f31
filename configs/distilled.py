"""A small net that learns from what LeNet-5 says of the digits, and the same net without it.

python -m experiments.train --config=configs/digits.py --workdir=runs/teacher
python -m experiments.train --config=configs/distilled.py[:alone] --workdir=runs/student --config.seed=S
must show: more digits right with the teacher than `:alone`
Not yet run
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "taught"):
    """`taught` (nine tenths of the loss are the teacher's), or `alone`."""
    share = {"taught": 0.9, "alone": 0.0}[one_of(variant, ("taught", "alone"))]
    student = section("models", "convnet", layers=(("conv", 4, 5, 2), ("conv", 8, 5, 2), ("dense", 16)))
    return experiment(
        data=section("data", "digits"),
        model=section(
            "models", "taught", student=student, teacher=section("models", "lenet5", activation="relu", pool="max")
        ),
        task=section("tasks", "distillation", share=share),
        augment=augmentation(train=("shift", "normalize"), eval=("normalize",), shift={"pixels": 3}),
        optimizer=section("optimizers", "adamw", lr=2e-3, freeze=("teacher",)),
        schedule=section("schedules", "cosine", warmup_epochs=1.0),
        train={"epochs": 30.0, "batch": 64, "init": "runs/teacher", "init_into": "teacher"},
    )
