"""What a backbone that has seen ImageNet is worth to a detector and to a U-Net with 10, 30 and all 43 pictures.

python -m experiments.sweep --config=configs/transfer.py[:unet] --config.data.root=nuclei --workdir=runs/transfer
--config.train.init=efficientnet_lite0.pth --pack=turns; its curve: --workdir=runs/transfer --sort=test.ap --html=FILE
Must show: the fewer the pictures, the more the backbone is worth. Missed on the test part: it is worth much to a
detector and something to a U-Net at any number, but not the more the fewer they are; to the U-Net it is on what was
held out.
Two cores of an AMD EPYC with much else to do, jax 0.12.0.1, commit b867c45 with this file, seed 0 (n = 1), the nine
pictures of the test part, and in brackets the 33 or 13 that were held out; 690 seconds of processor for the six points
of the detector, 640 for those of the U-Net:

                               10 pictures        30                 43
  detector, AP   ImageNet      0.318 (0.270)      0.290 (0.256)      0.306
                 from nothing  0.184 (0.160)      0.088 (0.091)      0.156
            AP50 ImageNet      0.676 (0.573)      0.642 (0.605)      0.654
                 from nothing  0.483 (0.431)      0.297 (0.295)      0.442
  U-Net, miou    ImageNet      0.759 (0.838)      0.817 (0.846)      0.830
                 from nothing  0.742 (0.758)      0.779 (0.811)      0.820

All have the same 600 steps, and for the detector these are the limit, not the pictures: more of them are met less often
each. After 200 steps it had 0.224, 0.189 and 0.184 from ImageNet, 0.115, 0.040 and 0.056 from nothing.
"""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import cross, grid

_TRAIN = 43


def get_config(variant: str = "detector"):
    """Nuclei at 256², windows of 96² in training, for a fixed number of steps, whatever the number of examples.

    data.root is the folder with images, labels and test.txt, train.init a file of the backbone's weights.
    """
    one_of(variant, ("detector", "unet"))
    backbone = section("models", "efficientnet_lite0")
    model, task = {
        "detector": (
            section("models", "detector", backbone=backbone, levels=(4, 8, 16), width=32, depth=1),
            section("tasks", "detection", most=200),
        ),
        "unet": (section("models", "unet", backbone=backbone, width=12, up="resize"), section("tasks", "segmentation")),
    }[variant]
    word = {"detector": "instances", "unet": "both"}[variant]
    return experiment(
        data=section("data", "masks", labels="labels", word=word, most=340, size=256),
        model=model,
        task=task,
        augment=augmentation(
            train=("crop", "flip", "flip#2", "normalize"),
            eval=("normalize",),
            crop={"padding": 0, "side": 96},
            **{"flip#2": {"axis": "height"}},
        ),
        optimizer=section("optimizers", "adamw", lr=2e-3),
        schedule=section("schedules", "triangle", peak=0.2, start=0.04, floor=0.0),
        train={"steps": 600, "batch": 4, "init": "efficientnet_lite0.pth", "init_into": "backbone"},
        eval={"steps": 600},
    )


def sweep():
    """10, 30 and all examples (the others are held out), from ImageNet and from scratch."""
    held_out = tuple(_TRAIN - count for count in (10, 30)) + (0,)
    begins = [{"train.init_into": "backbone"}, {"train.init_into": "", "train.init": ""}]
    return cross(grid({"data.holdout": held_out}), begins)
