"""Spoken digits."""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import grid


def get_config(variant: str = "speakers"):
    """."""
    one_of(variant, ("official", "speakers"))
    how = {"test_below": 5} if variant == "official" else {"together": True, "folds": 5}
    layers = (
        ("conv", 16, 3),
        ("pool", 2),
        ("conv", 32, 3),
        ("pool", 2),
        ("conv", 64, 3),
        ("pool", 2),
        ("conv", 128, 3),
    )
    net = section("models", "convnet", layers=layers, norm="group")
    moves = ("series_stretch", "series_shift", "log_mel", "series_band_mask", "series_mask")
    mel = {"low": 50.0, "standard": "band", "bands": 32, "window": 0.032, "hop": 0.016}
    return experiment(
        data=section("data", "sounds", root="runs/spoken_digit", **how),
        model=section("models", "pictured", backbone=net, dropout=0.3),
        task=section("tasks", "classification"),
        augment=augmentation(
            train=moves,
            eval=("log_mel",),
            log_mel=mel,
            series_shift={"steps": 800, "border": "constant"},
            series_stretch={"factor": 1.3},
        ),
        optimizer=section("optimizers", "adamw", lr=3e-3, decay=0.05),
        schedule=section("schedules", "cosine", warmup_steps=50),
        train={"epochs": 12.0, "batch": 50},
        eval={"epochs": 4.0},
    )


def sweep():
    """Every speaker left out once: one program."""
    return grid({"data.fold": tuple(float(fold) for fold in range(5))})
