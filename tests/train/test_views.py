"""Evaluation that sees every image in several ways."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.augment.views import averaged
from cnnjax.config import ConfigError, augmentation, experiment, load, section
from cnnjax.tasks import Task, count, supervised
from cnnjax.train.job import prepare
from cnnjax.train.trained import Trained


def prepared(task="classification", **evaluation):
    return prepare(
        experiment(
            data=section("data", "digits"),
            model=section("models", "mlp", hidden=(16,)),
            task=section("tasks", task),
            augment=augmentation(train=("normalize",), eval=("normalize",)),
            optimizer=section("optimizers", "sgd"),
            schedule=section("schedules", "constant"),
            train={"steps": 1, "batch": 60, "devices": 1},
            eval=evaluation,
        )
    )


def untrained(prepared):
    return Trained(prepared.config, Path(), prepared, prepared.layout.replicate(prepared.start()), {})


def test_metrics_with_views_are_those_of_averaged_probabilities():
    viewed = prepared(views=("mirror", "shifts"), view_pixels=2)
    state = viewed.layout.replicate(viewed.start())
    split = viewed.source.eval
    found = viewed.evaluate(state, split, viewed.store(split))
    fields = split.read(np.arange(len(split)))
    batch = {**fields, "index": np.arange(len(split)), "valid": np.ones(len(split), np.float32)}
    parts = viewed.program.parts(state.hparams)
    shown = parts.augment["eval"](jax.random.key(0), batch)["image"]
    net, variables = parts.net, {"params": state.params, **state.model_state}
    views = ("mirror", "shifts"), {"shifts": {"pixels": 2}}
    logits = jax.jit(lambda x: averaged(lambda x: net.apply(variables, x), x, *views))(shown)
    assert found["accuracy"] == pytest.approx(float(np.mean(np.argmax(logits, -1) == fields["label"])), abs=1e-6)
    expected = -float(np.mean(np.asarray(logits)[np.arange(len(split)), fields["label"]]))
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    alone = prepared().evaluate(state, split, viewed.store(split))
    assert found["loss"] != pytest.approx(alone["loss"], rel=1e-6)


def test_predictions_see_the_same_views_as_measures():
    trained = untrained(prepared(views=("mirror",)))
    fields = trained.source.test.read(np.arange(len(trained.source.test)))
    found = trained.predict(fields["image"])
    accuracy = float(np.mean(found["label"] == fields["label"]))
    assert accuracy == pytest.approx(trained.measure("test")["accuracy"], abs=1e-6)
    turned = trained.predict(fields["image"][:, :, ::-1])
    np.testing.assert_allclose(found["probabilities"], turned["probabilities"], atol=1e-5)


def test_outputs_that_are_no_logits_are_averaged_as_they_are():
    trained = untrained(prepared("tests.train.test_views:brightness", views=("mirror",)))
    images = trained.source.test.arrays["image"][:4]
    seen = ((images / 255 - trained.facts.mean[0]) / trained.facts.std[0]).astype(np.float32)
    both = [trained.net.apply(trained.variables, x, train=False) for x in (seen, seen[:, :, ::-1])]
    np.testing.assert_allclose(trained.predict(images)["target"], (both[0] + both[1]) / 2, atol=1e-5)


def brightness(facts, *, weight: float = 1.0) -> Task:
    """Two numbers about a picture, by their squared error."""

    def criterion(outputs, batch):
        return weight * (outputs.mean(-1) - batch["image"].mean((1, 2, 3))) ** 2, jnp.ones(len(outputs))

    def tally(outputs, batch):
        return {"sum": count(outputs.mean(-1), batch["valid"])}

    def summarize(sums, rows):
        return {"sum": float(sums["sum"])}

    def predict(outputs, batch):
        return {"target": outputs}

    return Task(2, supervised(criterion), predict, tally, summarize, metric="sum", views="outputs")


def test_a_view_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"eval\.views holds 'miror'; nearest: mirror"):
        prepared(views=("miror",))


def test_views_of_what_cannot_be_averaged_are_refused_before_anything_compiles(at_home):
    config = load("configs/digits_gan.py", ("--config.eval.views=mirror,",))
    with pytest.raises(ConfigError, match=r"eval.views is \('mirror',\), but what gan predicts can't be averaged"):
        prepare(config)


def of_places(**evaluation):
    return prepare(
        experiment(
            data=section("data", "shapes", size=40, train=8, test=8),
            model=section("models", "unet", width=2, depth=1, up="resize"),
            task=section("tasks", "segmentation"),
            augment=augmentation(train=("normalize",), eval=("normalize",)),
            optimizer=section("optimizers", "sgd"),
            schedule=section("schedules", "constant"),
            train={"steps": 1, "batch": 4, "devices": 1},
            eval=evaluation,
        )
    )


@pytest.mark.proofs
def test_a_map_in_tiles_is_that_of_the_whole_image_where_no_border_reaches():
    whole, tiled = (untrained(of_places(**more)) for more in ({}, {"views": ("tiles",), "view_side": 16}))
    fields = whole.source.test.arrays
    one, found = (trained.predict(fields["image"]) for trained in (whole, tiled))
    one, other = one["probabilities"], found["probabilities"]
    inside = np.s_[:, 10:-10, 10:-10]
    np.testing.assert_allclose(other[inside], one[inside], atol=1e-6)
    assert np.abs(other - one).max() > 1e-4, "in tiles the border is mirrored, the net's own is black"
    right = np.mean(found["segments"] == fields["segments"])
    assert tiled.measure("test")["pixel_accuracy"] == pytest.approx(right, abs=1e-6)


def test_tiles_off_the_nets_grid_are_refused_with_the_nearest_that_are_on_it():
    with pytest.raises(ConfigError, match=r"eval.view_side is 15; of tiles it must be a multiple of .* stride, 2: 16"):
        of_places(views=("tiles",), view_side=15)
    with pytest.raises(ConfigError, match=r"tiles are put together to a map, which classification does not predict"):
        prepared(views=("tiles",), view_side=4, view_margin=1)
