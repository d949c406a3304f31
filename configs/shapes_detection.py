"""Boxes of four shapes."""

from cnnjax.config import augmentation, experiment, section


def get_config():
    """A feature pyramid on a narrow residual net."""
    return experiment(
        data=section(
            "data",
            "shapes",
            train=4096,
            test=500,
            size=96,
            objects=6,
            fewest=1,
            radius=1 / 12,
            spread=1 / 8,
            boxes=True,
        ),
        model=section(
            "models",
            "detector",
            backbone=section("models", "resnet", stem="deep", blocks=(2, 2, 1, 1), width=16),
            levels=(8, 16, 32),
            width=48,
        ),
        task=section("tasks", "detection"),
        augment=augmentation(train=("flip", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=4e-3),
        schedule=section("schedules", "triangle", peak=0.2, start=0.04, floor=0.0),
        train={"steps": 2400, "batch": 16},
    )
