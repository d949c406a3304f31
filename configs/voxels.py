"""Chairs and monitors of ModelNet10 as 32³ voxels, by a residual net in three dimensions.

python -m experiments.train --config=configs/voxels.py:VARIANT --config.data.root=VOXELS --workdir=runs/VARIANT
Not yet run
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "upright"):
    """Trained on solids that are turned about their upright axis; tested as they stand, or `turned` by any angle."""
    evaluation = {"upright": ("normalize",), "turned": ("rotate", "normalize")}
    return experiment(
        data=section("data", "voxels"),
        model=section("models", "resnet", blocks=(1, 1, 1), width=16, stem="deep"),
        task=section("tasks", "classification"),
        augment=augmentation(
            train=("rotate", "normalize"), eval=evaluation[one_of(variant, evaluation)], rotate={"degrees": 180.0}
        ),
        optimizer=section("optimizers", "adamw", lr=3e-3, decay=0.02),
        schedule=section("schedules", "cosine", warmup_steps=20),
        train={"steps": 200, "batch": 32},
        eval={"steps": 200},
    )
