"""What a backbone that has seen ImageNet is worth to a detector and to a U-Net with 10, 30 and all 43 pictures.

python -m experiments.sweep --config=configs/transfer.py[:unet] --config.data.root=nuclei --workdir=runs/transfer
--config.train.init=efficientnet_lite0.pth --pack=turns; its curve: --workdir=runs/transfer --sort=test.ap --html=FILE
Must show: the fewer the pictures, the more the backbone is worth. Missed: with it a detector has two to five times the
AP at any number of pictures, and a U-Net a little more miou, but not the more the fewer they are.
Two cores of an AMD EPYC with much else to do, jax 0.12.0.1, commit 6703bfe, seed 0 (n = 1), the nine pictures of
the test part; 514 seconds of processor for the six points of the detector, 70 for one of the U-Net:

                               10 pictures    30     43
  detector, AP   ImageNet      0.224          0.189  0.184
                 from nothing  0.115          0.040  0.056
            AP50 ImageNet      0.564          0.525  0.481
                 from nothing  0.369          0.123  0.190
  U-Net, miou    ImageNet      0.735                 0.795
                 from nothing  0.725                 0.760

All have the same 200 steps, and these are the limit, not the pictures: more of them are met less often each. In
windows of 128² (43 pictures) the detector has AP 0.248 and 0.100, and 0.197 where the backbone learns at a fifth of
the rate. The U-Net with 30 pictures is not yet run, nor are other seeds.
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
