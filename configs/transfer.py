"""What a backbone that has seen ImageNet is worth to a detector and to a U-Net with 10, 30 and all 43 pictures.

python -m experiments.sweep --config=configs/transfer.py[:unet] --config.data.root=… --config.train.init=… --workdir=…
Must show: the fewer the pictures, the more the backbone is worth.
Not yet run.
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
        train={"steps": 200, "batch": 4, "init": "efficientnet_lite0.pth", "init_into": "backbone"},
        eval={"steps": 200},
    )


def sweep():
    """10, 30 and all examples (the others are held out), from ImageNet and from scratch."""
    held_out = tuple(_TRAIN - count for count in (10, 30)) + (0,)
    begins = [{"train.init_into": "backbone"}, {"train.init_into": "", "train.init": ""}]
    return cross(grid({"data.holdout": held_out}), begins)
