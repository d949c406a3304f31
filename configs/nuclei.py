"""Nuclei under microscopes of several kinds, one by one: a detector with masks, or a U-Net and its connected parts.

python -m experiments.train --config=configs/nuclei.py[:VARIANT] --config.data.root=nuclei --workdir=runs/nuclei
Must show: a DSB score of the detector above the U-Net's in the same minutes, and an iou_thing of 0.85 or more.
Test part, mean ± sd of seeds 0, 1, 2 (jax 0.12.0.1, two cores of an AMD EPYC with much else to do):
the detector has a DSB score of 0.282 ± 0.001 and AP50 of masks 0.583 ± 0.013, of boxes 0.598 ± 0.008, in 268 seconds
of processor; `unet` 0.221 ± 0.014 and iou_thing 0.766 ± 0.018, in 211: the first is shown, to a fifth of the time.
`pretrained` shows the second: iou_thing 0.854 ± 0.001, DSB 0.307 ± 0.001, in 500 seconds (commits b3dd4ad, 88f7158).
What `unet` lacked is mostly length: without border weights it knows its training pictures no better, 0.772. And it
takes the edge of a picture in its black frame for nuclei, which costs four points.
`aligned` draws each mask in its box: 0.254, and AP50 0.548 of masks, 0.560 of boxes (n = 1, seed 0, commit 1c63c5a):
prototypes are better here, on shapes it is the other way round (configs/shapes_detection.py).
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "masks"):
    """43 pictures brought to 352², windows of 192² in training; `unet` learns their class and the borders between them.

    `pretrained` learns the class alone, by a U-Net whose encoder has seen ImageNet, of a file of weights: train.init.
    data.root is the folder with images, labels and test.txt.
    """
    one_of(variant, ("masks", "aligned", "unet", "pretrained"))
    dense = variant in ("unet", "pretrained")
    data = {"labels": "labels", "word": "both" if dense else "instances", "most": 340, "size": 352}
    backbone = section("models", "resnet", stem="deep", blocks=(2, 2, 1, 1), width=16)
    levels = {"levels": (4, 8, 16, 32), "width": 32, "depth": 1}
    found = section("tasks", "detection", most=200)
    model, task, steps = {
        "masks": (section("models", "detector", backbone=backbone, masks=12, **levels), found, 300),
        "aligned": (section("models", "detector", backbone=backbone, aligned=7, **levels), found, 300),
        "unet": (
            section("models", "unet", width=8, depth=4, up="resize"),
            section("tasks", "segmentation", border=10.0, cells=1),
            600,
        ),
        "pretrained": (
            section("models", "unet", backbone=section("models", "efficientnet_lite0"), width=16, up="resize"),
            section("tasks", "segmentation", cells=1),
            1500,
        ),
    }[variant]
    init = {"init": "efficientnet_lite0.pth", "init_into": "backbone"} if variant == "pretrained" else {}
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
        optimizer=section("optimizers", "adamw", lr=2e-3 if variant == "pretrained" else 4e-3),
        schedule=section("schedules", "triangle", peak=0.2, start=0.04, floor=0.0),
        train={"steps": steps, "batch": 6, **init},
        eval={"steps": steps, "batch": 3},
    )
