"""Joints of stick figures."""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "heatmaps"):
    """Heat maps on a small ResNet, or `deeppose`: a cascade of three stages."""
    nets = {
        "heatmaps": section(
            "models", "heatmaps", width=32, backbone=section("models", "resnet", width=16, blocks=(1, 1, 1, 1))
        ),
        "deeppose": section(
            "models",
            "deeppose",
            backbone=section("models", "resnet", width=16, blocks=(1, 1, 1, 1)),
            refine=section("models", "resnet", width=16, blocks=(1, 1), stem="imagenet"),
            stages=3,
            crop=24,
            share=0.5,
        ),
    }
    return experiment(
        data=section("data", "figures"),
        model=nets[one_of(variant, nets)],
        task=section("tasks", "pose"),
        augment=augmentation(
            train=("rotate", "zoom", "translate", "flip", "normalize"),
            eval=("normalize",),
            rotate={"degrees": 20.0},
        ),
        optimizer=section("optimizers", "adamw", lr=2e-3, decay=0.01),
        schedule=section("schedules", "cosine", warmup_steps=50),
        train={"steps": 1500, "batch": 16},
        eval={"steps": 500},
    )
