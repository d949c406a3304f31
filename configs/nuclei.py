"""Nuclei under microscopes of several kinds, one by one: a detector with masks, or a U-Net and its connected parts.

python -m experiments.train --config=configs/nuclei.py[:unet] --config.data.root=nuclei --workdir=runs/nuclei
Must show: a DSB score of the detector above the U-Net's in the same minutes, and an iou_thing of 0.85 or more.
Not yet run to its end. Turned by up to 45 degrees as well, the detector had after 174 of 300 steps a DSB score of
0.179, AP50 of masks 0.445, of boxes 0.341: a turned box is larger than what it holds, and nothing is turned since
(149 seconds of processor, seed 0, n = 1, jax 0.12.0.1, two cores of an AMD EPYC with much else to do, commit 4bdd99b).
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "masks"):
    """43 pictures brought to 352², windows of 192² in training; `unet` learns their class and the borders between them.

    data.root is the folder with images, labels and test.txt.
    """
    one_of(variant, ("masks", "unet"))
    data = {"labels": "labels", "word": "both" if variant == "unet" else "instances", "most": 340, "size": 352}
    backbone = section("models", "resnet", stem="deep", blocks=(2, 2, 1, 1), width=16)
    model, task, steps = {
        "masks": (
            section("models", "detector", backbone=backbone, levels=(4, 8, 16, 32), width=32, depth=1, masks=12),
            section("tasks", "detection", most=200),
            300,
        ),
        "unet": (
            section("models", "unet", width=8, depth=4, up="resize"),
            section("tasks", "segmentation", border=10.0, cells=1),
            600,
        ),
    }[variant]
    moves = ("rotate", "zoom", "flip", "flip#2", "crop")
    colors = ("brightness", "contrast")
    return experiment(
        data=section("data", "masks", **data),
        model=model,
        task=task,
        augment=augmentation(
            train=(*moves, *colors, "normalize"),
            eval=("normalize",),
            rotate={"degrees": 45.0, "border": "reflect"},
            crop={"padding": 0, "side": 192},
            **{"flip#2": {"axis": "height"}},
        ),
        optimizer=section("optimizers", "adamw", lr=4e-3),
        schedule=section("schedules", "triangle", peak=0.2, start=0.04, floor=0.0),
        train={"steps": steps, "batch": 6},
        eval={"steps": steps, "batch": 3},
    )
