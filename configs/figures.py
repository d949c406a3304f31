"""Joints of stick figures in any pose and size, some of them hidden, by heat maps and by a cascade.

python -m experiments.train --config=configs/figures.py:VARIANT --workdir=runs/VARIANT
on two cores of an AMD EPYC that were shared with many others, jax 0.12.0.1, commit 011a999 with this file, n = 1:
200 figures never seen, 2,663 visible joints; PCK of the figure's size, once of the torso (task.reference "auto")

  VARIANT             PCK@0.2  @0.05   torso @0.2  PCKh@0.5  PCP    OKS    pixels of 64   processor seconds
  heatmaps            0.982    0.827   0.918       0.944     0.937  0.948  1.48           241
  deeppose, stage 1   0.808    0.291               0.556     0.546  0.718  5.08
            stage 2   0.932    0.622               0.819     0.813  0.873  2.71
            stage 3   0.937    0.699   0.812       0.845     0.838  0.890  2.39           293

The cascade's numbers are of first answers drawn at random; since then all points begin in the middle (configs/lsp.py
says why): not yet run again.
Of the joints a wrist is the hardest (heat maps 0.954 right, 0.916 left; the cascade 0.830, 0.838), neck and head are
always found.
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
