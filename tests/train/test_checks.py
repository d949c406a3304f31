"""Data, task and network are held together before anything compiles; what doesn't fit is said with a cure."""

import functools

import jax
import numpy as np
import pytest

import cnnjax
from cnnjax import config as sections
from cnnjax.config import ConfigError, augmentation, change, experiment, section
from cnnjax.runs.lines import more_is_better
from cnnjax.train.job import prepare
from cnnjax.train.step import bind
from tests.train import own_nets

HERE = "tests.train.own_nets"
SHAPES = "tests.tasks.shapes_of_task"


def config(net="without_train", *, data="things", task="classification", train=("normalize",), eval=None, **options):
    named = {name: f"{HERE}:{name}" for name in ("alike", "unsummed", "late")}
    seen = train if eval is None else eval
    return experiment(
        data=section("data", named.get(data, f"{SHAPES}:{data}")),
        model=section("models", net if net in sections.entries("models") else f"{HERE}:{net}", **options),
        task=section("tasks", named.get(task, task)),
        augment=augmentation(train=train, eval=seen),
        optimizer=section("optimizers", "adam", lr=1e-3),
        schedule=section("schedules", "constant"),
        train={"steps": 2, "batch": 6, "devices": 1},
        report={"page": False, "quiet": True, "tensorboard": False, "curves": False},
    )


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"net": "three"}, r"model.name is '.*:three', which gives \(6, 3\); classification needs \(6, 2\)\n.*outputs"),
        (
            {"net": "unet"},
            r"which gives \(6, 24, 24, 2\); classification needs \(6, 2\)\nit must be one row .*resnet18",
        ),
        (
            {"task": "segmentation"},
            r"which gives \(6, 3\); segmentation needs \(6, h, w, 3\)\nit must be a map, .*unet",
        ),
        ({"net": "a_tuple"}, r"which gives a tuple; classification needs an array, or a dict with 'main'"),
        ({"net": "another_head"}, r"output 'aux' is \(6, 3\); an auxiliary head has the shape of main, \(6, 2\)"),
        ({"net": "two_inputs"}, r"Twice.__call__ with an input alone: missing a required argument: 'y'\na net is a"),
        ({"net": "another_word"}, r"has the option 'training', .* `train`\nwrite __call__\(self, x, train=False\)"),
        ({"net": "traced_rate"}, r"value of a traced number, of an option annotated float(.|\n)*Static\[float\]"),
        ({"net": "always_dropping"}, r"not outside of training: Dropout_0 needs PRNG for .dropout.\na net is a"),
        ({"net": "always_moving"}, r"outside of training it changes a variable: (.|\n)*statistics stay unless it"),
        ({"task": "unsummed"}, r"criterion gives one loss an example, \(6,\); what it gives is \(\)"),
        (
            {"data": "alike"},
            r"the data has one class, 'only'; it needs at least 2\neach directory of a folder is a class",
        ),
        ({"data": "waves", "train": ()}, r"'classification', but the data has no classes"),
        (
            {"data": "sounds", "task": "segmentation"},
            r"needs segments; the data has .*series.*\nsegments: .*shapes",
        ),
        ({"eval": ()}, r"augment.train has 'normalize', augment.eval has not: .*\nname it in both, or in neither"),
        ({"train": (), "eval": ("normalize",)}, r"augment.eval has 'normalize', augment.train has not"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_compiles_with_cause_and_cure(made, words):
    with pytest.raises(ValueError, match=words) as error:
        prepare(config(**made))
    assert len(str(error.value).splitlines()) <= 3


def test_what_evaluation_alone_would_find_is_found_beforehand():
    with pytest.raises(KeyError, match="lable"):
        prepare(config(task="late"))


@pytest.mark.parametrize("how", ["index", "take", "embed", "jit"])
def test_a_table_with_fewer_rows_than_the_data_has_words_is_refused(how):
    made = config("table", data="sentences", train=(), how=how)
    with pytest.raises(ConfigError, match=r"has 3 rows, but the data have 5 words\n.*facts.extra\['words'\]"):
        prepare(made)
    prepare(change(made, {"model.rows": 5}))


def test_a_token_that_is_changed_on_purpose_may_have_a_smaller_table():
    prepare(config("table", data="sentences", train=(), how="hash"))


def test_own_nets_of_plain_linen_train_with_dropout_and_without_the_word_train(tmp_path):
    prepare(config("without_train"))
    run = cnnjax.run(config("dropping"), tmp_path)
    assert np.isfinite(run.metrics["test"]["loss"])
    image = run.source.test.arrays["image"] / np.float32(255)

    @functools.partial(jax.jit, static_argnums=1)
    def outputs(seed, train):
        net = bind(run.prepared.program, run.net, run.state.model_state, train=train)
        return net(run.state.params, {"image": image}, jax.random.key(seed))[0]

    assert (outputs(0, True) != outputs(1, True)).any()
    np.testing.assert_array_equal(outputs(0, True), outputs(0, True))
    np.testing.assert_array_equal(outputs(0, False), outputs(1, False))


def test_checkpoints_are_chosen_by_a_metric_in_its_own_direction():
    made = change(config("dropping"), {"checkpoint.metric": "loss"})
    assert prepare(made).goal == ("loss", False)
    assert prepare(config("dropping")).goal == ("accuracy", True)
    with pytest.raises(
        ConfigError, match=r"checkpoint.metric is 'acuracy'; nearest: accuracy; allowed: accuracy, loss"
    ):
        prepare(change(made, {"checkpoint.metric": "acuracy"}))
    prepare(change(made, {"checkpoint.metric": "raw_accuracy", "optimizer.ema": 0.9}))
    told = {"mae": False}
    names = ("mae", "raw_mae", "top_error", "mase_linear_regression", "miou")
    assert [more_is_better(name, told) for name in names] == [False, False, False, False, True]
    task = prepare(config("dropping")).program.parts({}).task
    assert [task.more_is_better(name) for name in names] == [False, False, False, False, True]


def test_the_start_traces_nothing_that_the_checks_have_not(monkeypatch):
    prepared, traced = prepare(config("without_train")), []
    whole = own_nets.Dense.__call__
    monkeypatch.setattr(own_nets.Dense, "__call__", lambda self, x: traced.append(x) or whole(self, x))
    prepared.start()
    assert not traced
