"""A small net that learns a hundred digits, and what LeNet-5, which has seen them all, says of these same hundred.

python -m experiments.train --config=configs/digits.py --workdir=runs/teacher
python -m experiments.sweep --config=configs/distilled.py --workdir=runs/students
must show: more digits right with the teacher than without
of 360 test digits, with a teacher that has 99.2 % of them right, two busy cores of an AMD EPYC, jax 0.12.0.1, commit
50862d7, 39 processor seconds for all ten: 94.3 ± 1.2 % with the teacher, 86.6 ± 0.8 % without (n = 5, each seed for
itself 6.7 to 8.6 points better), losses 0.21 ± 0.05 and 0.53 ± 0.03
`:every` learns all 1,437 digits, where there is less to be told: 97.0 ± 1.0 and 96.2 ± 1.7 %, losses 0.074 ± 0.028
and 0.128 ± 0.052 (n = 5)
"""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config(variant: str = "few"):
    """`few` (ten digits of each class), or `every` one."""
    few = {"few": {"labelled": 10, "sampling": "labelled"}, "every": {}}[one_of(variant, ("few", "every"))]
    student = section("models", "convnet", layers=(("conv", 4, 5, 2), ("conv", 8, 5, 2), ("dense", 16)))
    teacher = section("models", "lenet5", activation="relu", pool="max")
    return experiment(
        data=section("data", "digits", **few),
        model=section("models", "taught", student=student, teacher=teacher),
        task=section("tasks", "distillation"),
        augment=augmentation(train=("shift", "normalize"), eval=("normalize",), shift={"pixels": 3}),
        optimizer=section("optimizers", "adamw", lr=2e-3, freeze=("teacher",)),
        schedule=section("schedules", "cosine", warmup_epochs=1.0),
        train={"epochs": 30.0, "batch": 64, "init": "runs/teacher", "init_into": "teacher"},
    )


def sweep():
    """With nine tenths of the loss from the teacher, and with none, from the same five seeds: one program."""
    return cross(grid({"task.share": (0.9, 0.0)}), seeds(5))
