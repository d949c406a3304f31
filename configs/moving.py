"""Clips of a shape or a digit that moves in one of four directions at one of two speeds.

python -m experiments.train --config=configs/moving.py:VARIANT --workdir=runs/VARIANT
Not yet run
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "c3d"):
    """A small `c3d`; `r3d`, a residual net over space and time; `frames`, a net of pictures that sees no order."""
    nets = {
        "c3d": section("models", "c3d_small", stages=((8,), (16,), (32,), (64,))),
        "r3d": section("models", "video_resnet", blocks=(1, 1, 1), width=8),
        "frames": section(
            "models", "frames", backbone=section("models", "resnet", width=16, blocks=(1, 1), stem="deep")
        ),
    }
    return experiment(
        data=section("data", "moving"),
        model=nets[one_of(variant, nets)],
        task=section("tasks", "classification"),
        augment=augmentation(train=("normalize",), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=4e-3, decay=0.02),
        schedule=section("schedules", "cosine", warmup_steps=20),
        train={"steps": 120, "batch": 32},
        eval={"steps": 120},
    )
