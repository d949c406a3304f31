"""Joints of stick figures in any pose and size, some of them hidden, by heat maps and by a cascade.

python -m experiments.train --config=configs/figures.py:VARIANT --workdir=runs/VARIANT
on two cores of an AMD EPYC that were shared with many others, jax 0.12.0.1, commits 011a999 with this file and 1c63c5a
(the cascade), n = 1: 200 figures never seen, 2,663 visible joints; PCK of the figure's size, once of the torso
(task.reference "auto")

  VARIANT             PCK@0.2  @0.05   torso @0.2  PCKh@0.5  PCP    OKS    pixels of 64   processor seconds
  heatmaps            0.982    0.827   0.918       0.944     0.937  0.948  1.48           241
  deeppose, stage 1   0.921    0.417               0.716     0.717  0.830  3.35
            stage 2   0.955    0.759               0.881     0.886  0.916  1.93
            stage 3   0.958    0.843               0.913     0.912  0.934  1.54           279

Since all points begin in the middle (configs/lsp.py says why) the cascade is better: before, its stages had a PCK@0.2
of 0.808, 0.932 and 0.937, and were 5.08, 2.71 and 2.39 pixels off. Of the joints a wrist is the hardest for heat maps
(0.954 right, 0.916 left), an ankle for the cascade (0.889, 0.842); neck and head are always found.
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "heatmaps"):
    """Heat maps on a small ResNet, or `deeppose`: a cascade of three stages."""
    small = section("models", "resnet", width=16, blocks=(1, 1, 1, 1))
    nets = {
        "heatmaps": section("models", "heatmaps", backbone=small, stride=2, width=32),
        "deeppose": section(
            "models",
            "deeppose",
            backbone=small,
            refine=section("models", "resnet", width=16, blocks=(1, 1)),
            crop=24,
        ),
    }
    return experiment(
        data=section("data", "figures", train=2000),
        model=nets[one_of(variant, nets)],
        task=section("tasks", "pose", reference="figure"),
        augment=augmentation(
            train=("rotate", "zoom", "translate", "flip", "normalize"), eval=("normalize",), rotate={"degrees": 20.0}
        ),
        optimizer=section("optimizers", "adamw", lr=3e-3, decay=0.01),
        schedule=section("schedules", "cosine", warmup_steps=100),
        train={"steps": 4500, "batch": 16},
        eval={"steps": 4500},
        checkpoint={"steps": 250},
    )
