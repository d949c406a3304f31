"""Blood cells found in photographs of smears: red ones, white ones, platelets; from scratch or from ImageNet.

python -m experiments.train --config=configs/bccd.py[:pretrained] --config.data.root=BCCD [--config.train.init=FILE]
--workdir=runs/cells, on two cores of an AMD EPYC shared with ten and more other processes, jax 0.12.0.1, commit
2797b56, seed 0 (n = 1), 205 pictures in training, the 72 of the test part:
scratch: AP50 0.900, AP 0.503, AP75 0.518; AP of platelets 0.431, red 0.504, white cells 0.576; VOC's 0.877 (2007)
  (131 seconds of processor, 7 minutes beside the others; the 87 of the val part: AP50 0.871, AP 0.493)
pretrained: AP50 0.906, AP 0.545, AP75 0.609; platelets 0.444, red 0.549, white cells 0.643; VOC's 0.876 (2007)
  (294 seconds of processor; val: AP50 0.892, AP 0.531)
Run again at commit b3dd4ad: scratch AP50 0.901, AP 0.519; pretrained 0.906, 0.558, in 118 and 265 seconds of processor.
So ImageNet is worth four points of AP and half a point of AP50, in twice the time.
"""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "scratch"):
    """A feature pyramid down to stride 4, for platelets are small; `pretrained` on a backbone that has seen ImageNet.

    data.root is the folder with the archive's Annotations, JPEGImages and ImageSets; for `pretrained` train.init is a
    file of that backbone's weights.
    """
    one_of(variant, ("scratch", "pretrained"))
    backbone = section("models", "resnet", stem="deep", blocks=(2, 2, 1, 1), width=16)
    begin, gently = {}, {}
    if variant == "pretrained":
        backbone = section("models", "efficientnet_lite0")
        begin = {"init": "efficientnet_lite0.pth", "init_into": "backbone"}
        gently = {"factors": (("pyramid/backbone", 0.2),)}
    return experiment(
        data=section("data", "voc", size=192, width=256, most=30),
        model=section("models", "detector", backbone=backbone, levels=(4, 8, 16, 32), width=32, depth=1),
        task=section("tasks", "detection"),
        augment=augmentation(
            train=("flip", "flip#2", "normalize"), eval=("normalize",), **{"flip#2": {"axis": "height"}}
        ),
        optimizer=section("optimizers", "adamw", lr=4e-3, **gently),
        schedule=section("schedules", "triangle", peak=0.2, start=0.04, floor=0.0),
        train={"steps": 600, "batch": 8, **begin},
        eval={"steps": 600},
    )
