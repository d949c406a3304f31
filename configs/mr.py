"""Whether a sentence about a film is for or against it: Kim's net on MR, by ten folds."""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import grid

VECTORS = "runs/vectors/words_128.safetensors"


def get_config(variant: str = "random"):
    """Vectors of words drawn by chance, or of a file: kept as they are, trained, or one table of each."""
    init = {"random": "", "static": VECTORS, "tuned": VECTORS, "both": VECTORS}[
        one_of(variant, ("random", "static", "tuned", "both"))
    ]
    return experiment(
        data=section("data", "texts", path="runs/mr", together=True, folds=10),
        model=section("models", "textcnn", tables=2 if variant == "both" else 1),
        task=section("tasks", "classification"),
        augment=augmentation(train=(), eval=()),
        optimizer=section(
            "optimizers", "adamw", lr=3e-3, freeze={"static": ("words",), "both": ("fixed",)}.get(variant, ())
        ),
        schedule=section("schedules", "cosine"),
        train={"epochs": 2.0, "batch": 50, "init": init},
        eval={"epochs": 2.0},
    )


def sweep():
    """Ten folds: one program."""
    return grid({"data.fold": tuple(float(fold) for fold in range(10))})
