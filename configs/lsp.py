"""Joints of people doing sports, by heat maps or a cascade on a backbone that has seen ImageNet."""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "heatmaps"):
    """MobileNet v2 under heat maps, or under the stages of `deeppose`; photographs of 128² around the person."""
    backbone = section("models", "mobilenet_v2")
    nets = {
        "heatmaps": section("models", "heatmaps", backbone=backbone, width=64),
        "deeppose": section("models", "deeppose", backbone=backbone, refine=section("models", "resnet18", width=16)),
    }
    return experiment(
        data=section("data", "points", size=128, around=1.25),
        model=nets[one_of(variant, nets)],
        task=section("tasks", "pose"),
        augment=augmentation(
            train=("rotate", "zoom", "translate", "flip", "normalize"), eval=("normalize",), rotate={"degrees": 30.0}
        ),
        optimizer=section("optimizers", "adamw", lr=1e-3, decay=0.05),
        schedule=section("schedules", "cosine", warmup_steps=50),
        train={"steps": 400, "batch": 16, "init": "torchvision", "init_into": "backbone"},
        eval={"steps": 400},
    )
