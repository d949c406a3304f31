"""One to six shapes of four kinds found among clutter, some behind others; `masks`, `aligned`: with a mask for each.

python -m experiments.train --config=configs/shapes_detection.py[:masks|:aligned] --workdir=runs/found
on two cores of an AMD EPYC shared with ten other processes, jax 0.12.0.1, commit 03e2799, seed 0 (n = 1), test:
boxes: AP 0.727, AP50 0.930, AP75 0.823 (167 seconds of processor, 16 minutes beside the others)
masks: AP 0.722, AP50 0.930, AP75 0.806; of masks 0.541, 0.861, 0.569, DSB 2018's score 0.579 (216 s, 14 minutes)

aligned: AP 0.726, AP50 0.929, AP75 0.817; of masks 0.652, 0.890, 0.733, DSB 0.693 (commit 1c63c5a, 350 s): masks that
are drawn box by box (RoIAlign) win by far over `masks`, which adds up prototypes. So they do early in training, 300
steps alone, 200 scenes, seed 0 (n = 1), seconds of processor with compilation:
                       boxes AP  AP50   masks AP  AP50   AP75   DSB    seconds
  aligned, 14² read    0.377     0.606  0.282     0.531  0.274  0.360  109
  aligned, 7² read     0.380     0.616  0.295     0.572  0.275  0.346  69
  masks                0.346     0.569  0.227     0.463  0.210  0.319  66
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "boxes"):
    """A feature pyramid on a narrow residual net; `masks` adds 16 prototypes, `aligned` a head that draws in boxes."""
    masks = {"boxes": {}, "masks": {"masks": 16}, "aligned": {"aligned": 7}}
    one_of(variant, masks)
    scenes = {"size": 96, "objects": 6, "fewest": 1, "radius": 1 / 12, "spread": 1 / 8, "boxes": True}
    backbone = section("models", "resnet", stem="deep", blocks=(2, 2, 1, 1), width=16)
    return experiment(
        data=section("data", "shapes", train=4096, test=500, **scenes),
        model=section("models", "detector", backbone=backbone, width=48, **masks[variant]),
        task=section("tasks", "detection"),
        augment=augmentation(train=("flip", "normalize"), eval=("normalize",)),
        optimizer=section("optimizers", "adamw", lr=4e-3),
        schedule=section("schedules", "triangle", peak=0.2, start=0.04, floor=0.0),
        train={"steps": 2400, "batch": 16},
    )
