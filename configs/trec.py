"""What a question asks for: Kim's net on TREC's questions."""

from cnnjax.config import augmentation, experiment, section


def get_config():
    """Vectors drawn by chance."""
    return experiment(
        data=section("data", "texts", path="runs/trec"),
        model=section("models", "textcnn"),
        task=section("tasks", "classification"),
        augment=augmentation(train=(), eval=()),
        optimizer=section("optimizers", "adamw", lr=3e-3),
        schedule=section("schedules", "cosine"),
        train={"epochs": 5.0, "batch": 50},
        eval={"epochs": 1.0},
    )
