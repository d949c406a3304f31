"""Joints of stick figures."""

from cnnjax.config import augmentation, experiment, one_of, section


def get_config(variant: str = "heatmaps"):
    """Heat maps on a small ResNet, or `deeppose`: a cascade of three stages."""
    small = section("models", "resnet", width=16, blocks=(1, 1, 1, 1))
    nets = {
        "heatmaps": section("models", "heatmaps", backbone=small, stride=2, width=32),
        "deeppose": section(
            "models",
            "deeppose",
            backbone=small,
            refine=section("models", "resnet", width=16, blocks=(1, 1)),
            crop=24,
        ),
    }
    return experiment(
        data=section("data", "figures", train=2000),
        model=nets[one_of(variant, nets)],
        task=section("tasks", "pose", reference="figure"),
        augment=augmentation(
            train=("rotate", "zoom", "translate", "flip", "normalize"), eval=("normalize",), rotate={"degrees": 20.0}
        ),
        optimizer=section("optimizers", "adamw", lr=3e-3, decay=0.01),
        schedule=section("schedules", "cosine", warmup_steps=100),
        train={"steps": 4500, "batch": 16},
        eval={"steps": 4500},
        checkpoint={"steps": 250},
    )
