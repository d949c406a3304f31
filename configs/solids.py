"""x"""

from cnnjax.config import augmentation, experiment, section


def get_config():
    """A feature pyramid with turned boxes on a narrow residual net."""
    backbone = section("models", "resnet", stem="deep", blocks=(2, 2, 1), width=16)
    return experiment(
        data=section("data", "solids", train=4096, test=500),
        model=section("models", "detector", backbone=backbone, levels=(4, 8), width=48, turned=True),
        task=section("tasks", "detection_3d"),
        augment=augmentation(train=("flip", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=4e-3),
        schedule=section("schedules", "triangle", peak=0.2, start=0.04, floor=0.0),
        train={"steps": 2400, "batch": 16},
        eval={"steps": 800},
    )
