"""Predictions: in the inputs' own pixels, by the way and in the precision of evaluation, whatever the batch."""

import dataclasses
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax import weights
from cnnjax.config import ConfigError, augmentation, experiment, numeric, section
from cnnjax.data import Source, from_arrays
from cnnjax.tasks import Task, count, noise_keys, supervised
from cnnjax.train.job import prepare
from cnnjax.train.trained import Trained

HERE = "tests.train.test_predicting"
SHAPES = "tests.tasks.shapes_of_task"
SIZE = (40, 56)


def spots(*, count: int = 8) -> Source:
    """Dark pictures (40, 56, 1) with a bright block of 6×8 pixels near the middle, and where it is."""
    draw = np.random.default_rng(0)
    corner = np.stack([draw.integers(10, 22, count), draw.integers(14, 32, count)], -1)
    image = np.zeros((count, *SIZE, 1), np.uint8)
    for picture, (y, x) in zip(image, corner, strict=True):
        picture[y : y + 6, x : x + 8] = 255
    boxes = np.concatenate([corner, corner + [6, 8]], -1)[:, None].astype(np.float32)
    split = {"image": image, "boxes": boxes, "classes": np.zeros((count, 1), np.int32)}
    split |= {"present": np.ones((count, 1), np.float32)}
    return from_arrays(split, split)


def sight(facts, *, least: float = 0.5) -> Task:
    """What is bright in the very picture that the net sees, in all words that have a place."""

    def predict(outputs, batch):
        image = (batch["image"][..., 0] - facts.black[0]) / (facts.white[0] - facts.black[0])
        bright = image > least
        lines = [jnp.any(bright, axis) for axis in (2, 1)]
        low = jnp.stack([jnp.argmax(line, 1) for line in lines], -1)
        high = jnp.stack([line.shape[1] - jnp.argmax(line[:, ::-1], 1) for line in lines], -1)
        y, x = jnp.meshgrid(*map(jnp.arange, image.shape[1:]), indexing="ij")
        middle = jnp.stack([(bright * at).sum((1, 2)) / bright.sum((1, 2)) for at in (y, x)], -1)
        a, b = jnp.stack([low, low * 0 + high], 1).astype(jnp.float32).swapaxes(0, 1)
        corners = jnp.stack([a, jnp.stack([a[:, 0], b[:, 1]], -1), b, jnp.stack([b[:, 0], a[:, 1]], -1)], 1)
        return {
            "boxes": jnp.concatenate([low, high], -1)[:, None].astype(jnp.float32),
            "points": middle[:, None],
            "corners": corners[:, None],
            "segments": bright.astype(jnp.int32),
            "masks": bright[:, None],
        }

    def criterion(outputs, batch):
        return outputs[:, 0] ** 2, jnp.ones(len(outputs))

    def tally(outputs, batch):
        return {"examples": count(jnp.ones(len(outputs)), batch["valid"])}

    loss = supervised(criterion)
    return Task(1, loss, predict, tally, lambda sums, rows: {"seen": float(sums["examples"])}, metric="seen")


def trained(eval, task=f"{HERE}:sight", data=f"{HERE}:spots", net=f"{SHAPES}:vector", train=(), **options):
    prepared = prepare(
        experiment(
            data=section("data", data),
            model=section("models", net),
            task=section("tasks", task),
            augment=augmentation(train=eval, eval=eval, **options),
            optimizer=section("optimizers", "sgd"),
            schedule=section("schedules", "constant"),
            train={"steps": 1, "batch": 4, "devices": 1, **dict(train)},
            eval={"batch": 3},
        )
    )
    draw, numbers = np.random.default_rng(0), {k: np.float32(v) for k, v in numeric(prepared.config).items()}
    state = jax.tree.map(lambda leaf: draw.uniform(0, 0.2, leaf.shape).astype(leaf.dtype), prepared.outline())
    state = prepared.layout.replicate(state.replace(hparams=numbers))
    return Trained(prepared.config, Path(), prepared, state, {})


PIPELINES = {
    "as it is": (("normalize",), {}, 0.01),
    "smaller, then cut": (
        ("resize", "center_crop", "normalize"),
        {"resize": {"height": 30, "width": 42}, "center_crop": {"side": 28}},
        1.0,
    ),
    "larger": (("resize",), {"resize": {"height": 80, "width": 112}}, 0.6),
    "mirrored": (("flip",), {"flip": {"probability": 1.0}}, 0.01),
    "turned, each its own way": (("rotate", "shift"), {"rotate": {"degrees": 30.0}, "shift": {"pixels": 4}}, 1.0),
}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_what_has_a_place_comes_back_into_the_inputs_own_pixels(pipeline):
    names, options, within = PIPELINES[pipeline]
    run = trained(names, **options)
    fields = run.source.test.arrays
    box, image = fields["boxes"][:, 0], fields["image"][..., 0] > 0
    found = run.predict(fields["image"], batch=3)
    assert np.abs(found["points"][:, 0] - ((box[:, :2] + box[:, 2:]) / 2 - 0.5)).max() <= within
    if "turned" not in pipeline:  # there a box around a box is larger
        assert np.abs(found["boxes"][:, 0] - box).max() <= 1.5 * within + 0.01
        low, high = found["corners"][:, 0].min(1), found["corners"][:, 0].max(1)
        assert np.abs(np.concatenate([low, high], -1) - box).max() <= 1.5 * within + 0.01
    for maps in (found["segments"], found["masks"][:, 0]):
        assert maps.shape == image.shape
        shared = ((maps == 1) & image).sum((1, 2)) / ((maps == 1) | image).sum((1, 2))
        assert shared.min() >= (0.6 if within > 0.1 else 1)
    if pipeline == "smaller, then cut":
        assert (found["segments"][:, 0] == 255).all(), "what the net did not see is unknown"


@pytest.mark.parametrize("move", ["elastic", "perspective"])
def test_moves_that_no_affine_map_undoes_are_refused_in_words(move):
    run = trained((move,))
    with pytest.raises(ConfigError, match=rf"augment.eval is \('{move}',\).*more than an affine map"):
        run.predict(run.source.test.arrays["image"])
    answer = jax.eval_shape(run.answer, run.variables, run.source.test.arrays["image"])
    assert answer["segments"].shape == (8, *SIZE)


def test_maps_of_another_size_than_the_picture_that_the_net_saw_are_refused():
    run = trained((), task=f"{HERE}:coarse")
    with pytest.raises(ValueError, match=r"predicts segments of size \(20, 28\), .* saw has \(40, 56\)"):
        run.predict(run.source.test.arrays["image"])


def coarse(facts, *, least: float = 0.5) -> Task:
    """Segments of every second pixel."""
    whole = sight(facts, least=least)

    def predict(outputs, batch):
        return {"segments": whole.predict(outputs, batch)["segments"][:, ::2, ::2]}

    return dataclasses.replace(whole, predict=predict)


def test_predictions_are_made_in_the_precision_of_evaluation():
    runs = [
        trained(("normalize",), "classification", f"{SHAPES}:things", train={"precision": name})
        for name in ("float32", "bfloat16")
    ]
    images, found = runs[0].source.test.arrays["image"], []
    for run in runs:
        found.append(run.predict(images)["probabilities"])
        confidence = run.tables("test")["calibration"][:, 0].sum()
        assert confidence == pytest.approx(found[-1].max(-1).sum(), rel=1e-6), "the very numbers of evaluation"
    assert 0 < np.abs(found[0] - found[1]).max() < 0.05


def test_a_task_of_several_passes_and_draws_is_exported_as_it_predicts():
    run = trained(("normalize",), f"{SHAPES}:vae", f"{SHAPES}:things", f"{SHAPES}:autoencoder")
    images = run.source.test.arrays["image"]
    program = weights.as_stablehlo(
        lambda inputs: run.answer(run.variables, inputs), images.shape[1:], images.dtype, platforms=("cpu",)
    )
    found = jax.export.deserialize(bytearray(program)).call(images)
    np.testing.assert_allclose(found["image"], run.predict(images, batch=3)["image"], atol=1e-4)


def test_corners_come_back_from_a_mirror_with_the_front_first_and_the_way_round():
    run = trained(("flip",), flip={"probability": 1.0})
    fields = run.source.test.arrays
    y0, x0, y1, x1 = fields["boxes"][:, 0].T
    wanted = np.stack([np.stack(at, -1) for at in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))], 1)
    np.testing.assert_allclose(run.predict(fields["image"])["corners"][:, 0], wanted, atol=1e-3)


def test_inputs_asked_in_chunks_draw_as_those_asked_at_once():
    run = trained(("normalize",), f"{HERE}:lottery", f"{SHAPES}:things")
    images = run.source.test.arrays["image"]
    whole = run.predict(images, batch=3)["target"]
    parts = [
        run.predict(images[first : first + 3], batch=3, first=first)["target"] for first in range(0, len(images), 3)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert len(np.unique(whole)) == len(images)
    np.testing.assert_array_equal(run.predict(images[:3])["target"], whole[:3])


TRACED = []


def test_a_network_that_is_asked_again_is_not_compiled_again():
    run = trained(("flip",), f"{HERE}:lottery")
    images = run.source.test.arrays["image"]
    TRACED.clear()
    run.predict(images, batch=3)
    count = len(TRACED)
    run.predict(images, batch=3)
    run.predict(images[:3], first=5, batch=3)
    run.predict(images[:2], first=6, batch=3)
    assert len(TRACED) == count > 0


def lottery(facts) -> Task:
    """A number drawn by an example's index, and a point."""
    whole = sight(facts)

    def forward(net, params, batch, key):
        outputs, state = net(params, batch, key)
        return jax.vmap(jax.random.uniform)(noise_keys(net, key, batch))[:, None] + 0 * outputs, state

    def predict(outputs, batch):
        TRACED.append(facts.input)
        return {"target": outputs[:, :1], "points": outputs[:, None, :1].repeat(2, -1)}

    loss = supervised(lambda outputs, batch: (outputs[:, 0] ** 2, jnp.ones(len(outputs))), forward)
    return dataclasses.replace(whole, predict=predict, forward=forward, loss=loss)


def test_tasks_and_nets_are_given_the_facts_as_the_evaluation_pipeline_leaves_them():
    run = trained(
        ("resize", "normalize"),
        data=f"{SHAPES}:things",
        task="classification",
        resize={"height": 12, "width": 18},
    )
    facts, seen = run.facts, run.prepared.program.seen
    assert (facts.shape, seen.shape) == ((24, 24, 1), (12, 18, 1))
    assert seen.fields["image"] == ((12, 18, 1), np.float32)
    assert seen.fields["segments"][0] == (12, 18)
    assert seen.fields["boxes"] == ((2, 4), np.float32)
    assert seen.black[0] == pytest.approx(-facts.mean[0] / facts.std[0])
    assert seen.white[0] == pytest.approx((1 - facts.mean[0]) / facts.std[0])


def test_tables_stand_beside_the_numbers():
    run = trained(("normalize",), "classification", f"{SHAPES}:things")
    labels = run.source.test.arrays["label"]
    numbers, tables = run.measure("test"), run.tables("test")
    assert set(numbers) == {"loss", "accuracy"}
    guess = run.predict(run.source.test.arrays["image"])
    wanted = np.zeros((2, 2), int)
    for i, k in zip(labels, guess["label"], strict=True):
        wanted[i, k] += 1
    np.testing.assert_array_equal(tables["confusion"], wanted)
    assert tables["calibration"].sum(0) == pytest.approx(
        [guess["probabilities"].max(-1).sum(), numbers["accuracy"] * len(labels), len(labels)], rel=1e-5
    )
    with pytest.raises(ConfigError, match="split is 'tst'"):
        run.tables("tst")
