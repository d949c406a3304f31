"""Tasks of fourteen shapes, each a user's own functions, that train, are measured and predict as those of the room."""

import numpy as np
import pytest

import cnnjax
from cnnjax.config import augmentation, experiment, section
from tests.tasks import shapes_of_task

HERE = "tests.tasks.shapes_of_task"
PICTURES = ("crop", "flip", "normalize")
SHAPES = {  # a name: data, net, task, augmentation in training, words of its prediction
    "detection": ("things", "dense", "detection", PICTURES, {"boxes", "classes", "scores", "present"}),
    "instance masks": ("things", "dense", "instances", PICTURES, {"boxes", "classes", "scores", "present", "masks"}),
    "localization": ("things", "vector", "localization", PICTURES, {"label", "probabilities", "boxes"}),
    "pose in stages": ("things", "stages", "pose", PICTURES, {"points"}),
    "pose by a second part": ("things", "cascade", "refined", PICTURES, {"points"}),
    "heat maps": ("things", "dense", "heatmaps", PICTURES, {"points", "scores"}),
    "autoencoder": ("things", "autoencoder", "vae", ("normalize",), {"image"}),
    "attacks": ("things", "vector", "adversarial", ("normalize",), {"label", "probabilities"}),
    "text": ("sentences", "words", "classification", (), {"label", "probabilities"}),
    "audio": ("sounds", "tdnn", "classification", ("series_shift", "normalize"), {"label", "probabilities"}),
    "series": ("sounds", "resnet1d", "classification", ("series_mask", "normalize"), {"label", "probabilities"}),
    "forecast": ("waves", "causal", "forecasting", ("normalize",), {"target"}),
    "video in 3D": ("clips", "c3d", "classification", ("temporal_crop", "normalize"), {"label", "probabilities"}),
    "video by frames": ("clips", "frames", "classification", ("normalize",), {"label", "probabilities"}),
}
TINY = {
    "tdnn": {"layers": ((4, 3, 1), (4, 3, 2))},
    "resnet1d": {"width": 4, "blocks": (1, 1)},
    "c3d": {"stages": ((4,), (4,)), "hidden": (), "norm": "batch"},
}


def named(name):
    return f"{HERE}:{name}" if hasattr(shapes_of_task, name) else name


def config(shape, **evaluation):
    data, net, task, train, _ = SHAPES[shape]
    seen = tuple(name for name in train if name in ("normalize", "temporal_crop"))
    options = {name: {"frames": 4, "strength": 0.0} for name in train if name == "temporal_crop"}
    return experiment(
        data=section("data", named(data)),
        model=section("models", named(net), **TINY.get(net, {})),
        task=section("tasks", named(task)),
        augment=augmentation(train=train, eval=seen, **options),
        optimizer=section("optimizers", "adam", lr=1e-3),
        schedule=section("schedules", "constant"),
        train={"steps": 1, "batch": 6, "devices": 1},
        eval={"batch": 4, "test": False, **evaluation},
        report={"page": False, "quiet": True, "tensorboard": False, "curves": False},
    )


# the others differ in data or in where they look; what is particular to each of these is nowhere else
QUICK = (
    "autoencoder",
    "forecast",
    "video by frames",
)


@pytest.mark.parametrize("shape", [s if s in QUICK else pytest.param(s, marks=pytest.mark.proofs) for s in SHAPES])
def test_a_users_own_task_takes_a_step_is_measured_and_predicts(shape, tmp_path):
    trained = cnnjax.run(config(shape), tmp_path)
    measured = trained.metrics["eval"] or trained.metrics["test"]
    assert np.isfinite(measured["loss"])
    assert np.isfinite(measured[trained.task.metric])
    split = trained.source.test
    inputs = split.arrays[trained.facts.input]
    words = trained.predict(inputs)
    assert set(words) == SHAPES[shape][-1]
    for word, values in words.items():
        assert len(values) == len(inputs), word
        assert np.isfinite(np.asarray(values, float)).all(), word
        if word in split.arrays and word not in ("boxes", "classes", "present"):  # as many as the task finds
            assert values.shape == split.arrays[word].shape, "a prediction has the form of its label"
    few = trained.predict(inputs, batch=3)
    for word in words:
        np.testing.assert_allclose(few[word], words[word], rtol=1e-3, atol=1e-3)
