"""Evaluation that sees every image in several ways."""

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax.augment.views import averaged
from cnnjax.config import augmentation, experiment, load, section
from cnnjax.train.job import prepare


def prepared(**evaluation):
    return prepare(
        experiment(
            data=section("data", "digits"),
            model=section("models", "lenet5", activation="relu"),
            task=section("tasks", "classification"),
            augment=augmentation(train=("normalize",), eval=("normalize",)),
            optimizer=section("optimizers", "sgd"),
            schedule=section("schedules", "constant"),
            train={"steps": 1, "batch": 60, "devices": 1},
            eval=evaluation,
        )
    )


def test_metrics_with_views_are_those_of_averaged_probabilities():
    viewed = prepared(views=("mirror", "shifts"), view_pixels=2)
    state = viewed.layout.replicate(viewed.start())
    split = viewed.source.eval
    found = viewed.evaluate(state, split, viewed.store(split))
    fields = split.read(np.arange(len(split)))
    batch = {**fields, "index": np.arange(len(split)), "valid": np.ones(len(split), np.float32)}
    shown = viewed.program.augment(state.hparams, "eval")(jax.random.key(0), batch)["image"]
    net, variables = viewed.program.net(state.hparams), {"params": state.params, **state.model_state}
    logits = averaged(lambda x: net.apply(variables, x), shown, ("mirror", "shifts"), {"shifts": {"pixels": 2}})
    assert found["accuracy"] == pytest.approx(float(np.mean(np.argmax(logits, -1) == fields["label"])), abs=1e-6)
    expected = -float(np.mean(np.asarray(logits)[np.arange(len(split)), fields["label"]]))
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    alone = prepared().evaluate(state, split, viewed.store(split))
    assert found["loss"] != pytest.approx(alone["loss"], rel=1e-6)


def test_predictions_see_the_same_views_as_measures(tmp_path, at_home):
    flags = ("--config.train.steps=2", "--config.eval.views=mirror,", "--config.report.quiet=true")
    trained = cnnjax.run(load("configs/digits.py", (*flags, "--config.report.tensorboard=false")), tmp_path)
    fields = trained.source.test.read(np.arange(len(trained.source.test)))
    found = trained.predict(fields["image"])
    accuracy = float(np.mean(found["label"] == fields["label"]))
    assert accuracy == pytest.approx(trained.measure("test")["accuracy"], abs=1e-6)
    turned = trained.predict(fields["image"][:, :, ::-1])
    np.testing.assert_allclose(found["probabilities"], turned["probabilities"], atol=1e-5)


def test_a_view_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"eval\.views holds 'miror'; nearest: mirror"):
        prepared(views=("miror",))
