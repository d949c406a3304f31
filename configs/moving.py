"""Clips of a shape or a digit that moves in one of four directions at one of two speeds.

python -m experiments.train --config=configs/moving.py:VARIANT --workdir=runs/VARIANT
on two cores of an AMD EPYC shared with many other processes, jax 0.12.0.1, commit 77ca700, 512 clips never seen, eight
motions (chance 12.5 %); config.seed = config.data.seed = 0, 1, 2, of `frames` 0:

  VARIANT   accuracy               processor seconds in all, compiling too
  c3d       100.0 ± 0.0 % (n = 3)  27
  r3d       100.0 % (n = 1)        77
  r2plus1d   63.1 % (n = 1)        108; 120 steps are too few for it
  frames     10.2 % (n = 1)        34
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "c3d"):
    """A small `c3d`, a narrow `r3d` or `r2plus1d`; or `frames`, a net of pictures, to which their order is nothing."""
    nets = {
        "c3d": section("models", "c3d_small", stages=((8,), (16,), (32,), (64,))),
        "r3d": section("models", "r3d_18", width=8),
        "r2plus1d": section("models", "r2plus1d_18", width=8),
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
