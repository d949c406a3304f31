"""A class for every pixel: a small U-Net on scenes of four shapes with clutter, made from a seed."""

from cnnjax.config import augmentation, experiment, section


def get_config():
    """A same-padded U-Net of width 8."""
    return experiment(
        data=section("data", "shapes", objects=3),
        model=section("models", "unet", width=8, depth=3, up="resize"),
        task=section("tasks", "segmentation"),
        augment=augmentation(train=("flip", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=1e-2),
        schedule=section("schedules", "cosine", warmup_epochs=1.0),
        train={"steps": 400, "batch": 16},
    )
