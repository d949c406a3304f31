"""Chairs and monitors of ModelNet10 as 32³ voxels, by a residual net in three dimensions.

python -m experiments.train --config=configs/voxels.py:VARIANT --config.data.root=VOXELS --workdir=runs/VARIANT
on two cores of an AMD EPYC shared with many other processes, jax 0.12.0.1, 270 solids never seen, every fifth: 100.0 ±
0.0 % as they stand (config.seed = config.data.seed = 0, 1, 2, n = 3, commit 77ca700, 50 seconds of processor), 100.0 %
`turned` by any angle about the upright axis (n = 1, 53; the training is the same). Two grids of the set are empty and
passed over.
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
