"""A class for every pixel: a small U-Net on scenes of four shapes with clutter, made from a seed."""

from cnnjax.config import augmentation, experiment, section


def get_config():
    """A same-padded U-Net of width 8."""
    return experiment(
        data=section("data", "shapes", objects=2, clutter=6, noise=8, turn=20),
        model=section("models", "unet", width=8, depth=3, up="resize"),
        task=section("tasks", "segmentation", dice=0.5),
        augment=augmentation(train=("flip", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=1e-2),
        schedule=section("schedules", "triangle", peak=0.3, start=0.04, floor=0.0),
        train={"steps": 650, "batch": 16},
    )
