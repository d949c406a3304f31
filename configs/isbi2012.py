"""Membranes of nerve cells in sections under the electron microscope, by a small U-Net with the published recipe.

python -m experiments.train --config=configs/isbi2012.py --config.data.root=isbi2012 --workdir=runs/membranes
Must show: rand_error and 1 − pixel_accuracy on sections 24 to 29 (published, on other sections: 0.038 and 0.061).
Test part, seed 0: 1 − pixel_accuracy 0.078, rand_error 0.288 as the net answers, 0.175 by the best of nine thresholds,
info_error 0.102 by both (the published ones are the best of all thresholds, of membranes made thin before), miou 0.782,
boundary_iou 0.743, in 385 seconds of processor; after 400 steps 0.083 and 0.485 (n = 1, jax 0.12.0.1, two cores of an
AMD EPYC with much else to do).
"""

from cnnjax.config import augmentation, experiment, section


def get_config():
    """Windows of 160² turned, mirrored and bent, with a greater weight of what lies between two cells.

    data.root is a folder with image, label, colors.txt of two lines, "0 membrane" and "255 cell", and test.txt, which
    names the sections to measure on: neighbours look alike, so take the last, not every fifth.
    """
    files = {"images": "image", "labels": "label", "colors": "colors.txt", "word": "both", "most": 500, "channels": 1}
    moves = ("crop", "rotate", "elastic", "flip", "flip#2")
    return experiment(
        data=section("data", "masks", **files),
        model=section("models", "unet", width=12, depth=3, up="resize"),
        task=section("tasks", "segmentation", border=10.0, border_sigma=5.0, cells=1),
        augment=augmentation(
            train=(*moves, "brightness", "contrast", "normalize"),
            eval=("normalize",),
            rotate={"degrees": 180.0, "border": "reflect"},
            elastic={"pixels": 4.0, "smooth": 20.0},
            crop={"padding": 0, "side": 160},
            **{"flip#2": {"axis": "height"}},
        ),
        optimizer=section("optimizers", "adamw", lr=4e-3),
        schedule=section("schedules", "triangle", peak=0.2, start=0.04, floor=0.0),
        train={"steps": 1600, "batch": 4},
        eval={"steps": 1600, "batch": 1},
    )
