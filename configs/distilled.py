"""A small net that learns from what LeNet-5 says of the digits, and the same net without it.

python -m experiments.train --config=configs/digits.py --workdir=runs/teacher
python -m experiments.sweep --config=configs/distilled.py --workdir=runs/students
must show: more digits right with the teacher than without
Not yet run
"""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import cross, grid, seeds


def get_config(variant: str = "digits"):
    """`digits`, or `mnist`, of a teacher that `configs/mnist.py` trains with these rectifiers and maxima."""
    data, batch, epochs, pixels, convs = {
        "digits": ("digits", 64, 30.0, 3, (4, 8)),
        "mnist": ("mnist", 128, 4.0, 2, (2, 4)),
    }[one_of(variant, ("digits", "mnist"))]
    layers = (*(("conv", features, 5, 2) for features in convs), ("dense", 16))
    teacher = section("models", "lenet5", activation="relu", pool="max")
    return experiment(
        data=section("data", data),
        model=section("models", "taught", student=section("models", "convnet", layers=layers), teacher=teacher),
        task=section("tasks", "distillation"),
        augment=augmentation(train=("shift", "normalize"), eval=("normalize",), shift={"pixels": pixels}),
        optimizer=section("optimizers", "adamw", lr=2e-3, freeze=("teacher",)),
        schedule=section("schedules", "cosine", warmup_epochs=epochs / 30),
        train={"epochs": epochs, "batch": batch, "init": "runs/teacher", "init_into": "teacher"},
    )


def sweep():
    """With nine tenths of the loss from the teacher, and with none, from the same five seeds: one program."""
    return cross(grid({"task.share": (0.9, 0.0)}), seeds(5))
