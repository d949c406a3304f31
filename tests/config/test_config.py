"""Sections come from signatures; what a config says is checked before anything runs."""

import json
import pickle

import hypothesis
import hypothesis.strategies as st
import pytest
from ml_collections import ConfigDict

from cnnjax import config as sections
from cnnjax import models
from cnnjax.config import ConfigError, _values, augmentation, call, experiment, section
from cnnjax.config.signatures import Option


def whole(**changes):
    """A config of small entries, with some sections of the test's own."""
    sections = {
        "data": section("data", "digits"),
        "model": section("models", "lenet5", activation="relu"),
        "task": section("tasks", "classification"),
        "augment": augmentation(train=("shift", "normalize"), eval=("normalize",), shift={"pixels": 3}),
        "optimizer": section("optimizers", "adamw", lr=2e-3),
        "schedule": section("schedules", "cosine", warmup_epochs=1.0),
        "train": {"epochs": 3.0, "batch": 64},
    }
    return experiment(**(sections | changes))


def refused(function, *arguments, **options) -> str:
    """The message with which a call is refused; it takes three lines at most."""
    with pytest.raises(ConfigError) as caught:
        function(*arguments, **options)
    text = str(caught.value)
    assert caught.value.exit_code == 2
    assert 1 <= len(text.splitlines()) <= 3, text
    return text


def test_a_section_has_every_option_at_its_default():
    made = section("schedules", "triangle", peak=0.5)
    assert (made.name, made.peak, made.start, made.floor) == ("triangle", 0.5, 0.2, 0.07)
    assert made.warmup_steps == 0, "the room's own options stand beside the entry's"


def test_a_model_without_configs_works_in_a_notebook():
    assert models.lenet5(outputs=10).outputs == 10


def test_a_call_takes_the_sections_options_and_replacements_win():
    net = call("models", whole().model, outputs=7, padding=0)
    assert (net.outputs, net.padding) == (7, 0)


def test_an_import_path_names_a_function_of_the_users_own(tmp_path, monkeypatch):
    (tmp_path / "my_nets_of_mine.py").write_text(
        "import flax.linen as nn\ndef tiny(*, outputs: int, width: int = 3):\n    return nn.Dense(outputs + width)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = whole(model=section("models", "my_nets_of_mine:tiny", width=5))
    assert call("models", config.model, outputs=2).features == 7
    assert "has no such function; nearest: tiny" in refused(section, "models", "my_nets_of_mine:tny")
    assert "importing my_net failed" in refused(section, "models", "my_net:tiny")


def test_an_augmentation_of_the_users_own_has_the_section_of_its_functions_name(tmp_path, monkeypatch):
    (tmp_path / "my_tints.py").write_text(
        "def tint(key, facts, example, strength, *, gain: float = 0.5):\n    return example\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = augmentation(train=("my_tints:tint", "my_tints:tint#2"), **{"tint#2": {"gain": 1.0}})
    assert (made.tint.gain, made["tint#2"].gain) == (0.5, 1.0)
    assert sections.label("my_tints:tint#2") == "tint#2"


def test_a_name_that_comes_twice_has_two_sections():
    made = augmentation(train=("shift", "normalize", "shift#2"), **{"shift#2": {"pixels": 1}})
    assert (made.shift.pixels, made["shift#2"].pixels) == (2, 1)
    assert made.shift.strength == 1.0
    assert "strength" not in made.normalize


def test_augmentation_refuses_options_of_what_it_does_not_name():
    assert "augment.crop: neither" in refused(augmentation, train=("shift",), crop={"padding": 2})


def test_a_nested_entry_is_a_section_and_arrives_without_its_head():
    config = whole(model=section("models", "unet", backbone=section("models", "resnet18", width=8)))
    assert config.model.backbone.width == 8
    net = call("models", sections.with_numbers(config, {"model.backbone.dropout": 0.5})["model"], outputs=4)
    assert net.outputs == 4
    assert section("models", "unet", backbone="resnet18").backbone.width == 64
    assert section("models", "unet").backbone == ""
    assert "nearest: resnet18" in refused(section, "models", "unet", backbone="resnet81")


def test_a_model_may_ask_for_the_facts_of_the_data_and_so_may_its_backbone(tmp_path, monkeypatch):
    (tmp_path / "my_knowing_nets.py").write_text(
        "from typing import Annotated\n"
        "def inner(facts, *, outputs: int):\n    return ('inner', facts, outputs)\n"
        "def outer(facts, *, outputs: int, backbone: Annotated[str, 'models'] = 'my_knowing_nets:inner'):\n"
        "    return (facts, outputs, backbone)\n"
        "def plain(*, outputs: int, backbone: Annotated[str, 'models'] = 'my_knowing_nets:inner'):\n"
        "    return (outputs, backbone)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = section("models", "my_knowing_nets:outer", backbone="my_knowing_nets:inner")
    assert call("models", made, "facts", outputs=3) == ("facts", 3, ("inner", "facts", 0))
    made = section("models", "my_knowing_nets:plain", backbone="my_knowing_nets:inner")
    assert call("models", made, "facts", outputs=3) == (3, ("inner", "facts", 0))
    assert call("models", section("models", "lenet5"), "facts", outputs=3).outputs == 3
    assert "model.name is 'my_knowing_nets:inner', which asks for the facts" in refused(
        call, "models", section("models", "my_knowing_nets:inner"), outputs=3
    )


def test_groups_of_parameters_bring_optimizers_of_their_own():
    groups = (("*/bias", "adamw"), ("head", "body"))
    made = section("optimizers", "sgd", groups=groups, body=section("optimizers", "lion"))
    assert (made.adamw.lr, made.body.name) == (1e-3, "lion")
    assert "clip" not in made.body
    numbers = sections.numeric(whole(optimizer=made))
    assert {"optimizer.lr", "optimizer.adamw.lr", "optimizer.body.b2", "optimizer.clip"} <= set(numbers)
    inner = section("optimizers", "lion", clip=1.0)
    text = refused(section, "optimizers", "sgd", groups=(("*", "body"),), body=inner)
    assert "optimizer.body.clip can't be set; optimizer.clip stands for all of optimizer" in text


def test_numbers_are_what_is_annotated_float_and_called_inside_the_step():
    numbers = sections.numeric(whole())
    assert numbers["optimizer.lr"] == 2e-3
    assert numbers["augment.shift.strength"] == 1.0
    assert "augment.shift.pixels" not in numbers, "an int is static"
    assert not [path for path in numbers if path.startswith(("data.", "train.", "eval.", "report."))]
    assert "schedule.warmup_epochs" not in numbers, "Static[float] is static"


def test_new_numbers_stand_in_a_copy_of_the_config():
    config = whole()
    changed = sections.with_numbers(config, {"optimizer.lr": "traced", "augment.shift.strength": 0.5})
    assert (changed["optimizer"]["lr"], changed["augment"]["shift"]["strength"]) == ("traced", 0.5)
    assert config.optimizer.lr == 2e-3


def test_json_gives_the_config_back_tuples_included():
    config = whole(optimizer=section("optimizers", "sgd", groups=(("*/bias", "adamw"),)))
    again = sections.from_json(sections.to_json(config))
    assert again == config
    assert again.augment.train == ("shift", "normalize")
    assert again.optimizer.groups == (("*/bias", "adamw"),)
    assert again.is_locked


def test_json_of_an_older_release_takes_defaults_for_what_is_new():
    content = json.loads(sections.to_json(whole()))
    del content["model"]["width"], content["train"]["devices"]
    again = sections.from_json(json.dumps(content))
    assert (again.model.width, again.train.devices) == (6, 0)


def test_a_frozen_config_is_hashable_and_equal_for_equal_configs():
    assert hash(sections.freeze(whole())) == hash(sections.freeze(whole()))
    assert sections.freeze(whole()) != sections.freeze(whole(seed=1))


def test_configs_are_locked_and_survive_pickling():
    config = whole()
    with pytest.raises(AttributeError):
        config.optimizer.lrr = 1.0
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"optimizer": {"lr": -0.1}}, "optimizer.lr is -0.1; it must be ≥ 0"),
        ({"optimizer": {"lr": float("nan")}}, "optimizer.lr is nan; it must be a finite number"),
        ({"optimizer": {"b1": 1.0}}, "optimizer.b1 is 1.0; it must be ≥ 0 and < 1"),
        ({"model": {"dropout": "high"}}, "model.dropout is 'high'; it must be a number"),
        ({"model": {"width": 2.5}}, "model.width is 2.5; it must be a whole number"),
        ({"model": {"width": True}}, "model.width is True; it must be a whole number"),
        ({"train": {"parallel": "pmp"}}, "train.parallel is 'pmp'; nearest: pmap; allowed: auto, jit, pmap, shard_map"),
        ({"train": {"steps": 5}}, "train.steps and train.epochs are both given; keep one and set the other to 0"),
        ({"eval": {"test": 1}}, "eval.test is 1; it must be true or false"),
        ({"augment": {"train": ("shift", 3)}}, "augment.train is ('shift', 3); it must be a tuple of words"),
        ({"augment": {"eval": "normalize"}}, "augment.eval is 'normalize'; it must be a tuple of words"),
    ],
)
def test_a_bad_value_is_refused_with_its_path_and_what_is_allowed(changes, text):
    config = ConfigDict(sections.with_numbers(whole(), {}), type_safe=False)
    for key, values in changes.items():
        for name, value in values.items():
            config[key][name] = value
    assert refused(sections.validate, config) == text


def test_a_pipeline_is_a_tuple_of_words():
    text = "augment.train is 'shift'; it must be a tuple of words"
    assert refused(augmentation, train="shift") == text
    assert augmentation(train=["shift"]).train == ("shift",)


def test_an_unknown_option_is_refused_with_the_nearest_one():
    text = refused(section, "optimizers", "adamw", lrr=0.1)
    first, second = text.splitlines()
    assert first == "optimizer.lrr is not an option of adamw; nearest: optimizer.lr"
    assert second.startswith("optimizer has: accumulate, b1, b2, clip,")


def test_an_unknown_entry_is_refused_with_the_nearest_one():
    assert "task.name is 'clasification'; nearest: classification" in refused(section, "tasks", "clasification")
    assert "room is 'model'; nearest: models" in refused(section, "model", "lenet5")
    assert "augment.eval has 'normalise'; nearest: normalize" in refused(augmentation, eval=("normalise",))


def test_a_name_changed_without_its_options_is_told_what_does_not_fit():
    config = whole()
    config.model.name = "mlp"
    text = refused(sections.validate, config)
    assert "is not an option of mlp" in text
    assert text.endswith("\nsection('models', 'mlp') makes a section with all its options")
    config.model = section("models", "mlp")
    sections.validate(config)


def test_a_change_by_paths_is_a_change_by_flags():
    config = whole()
    changed = sections.change(config, {"model.hidden": (8,), "model.name": "mlp", "train.steps": 9})
    assert (changed.model.hidden, changed.train.steps, changed.train.epochs) == ((8,), 9, 0.0)
    assert sections.change(config, {"optimizer.lr": "0.5"}).optimizer.lr == 0.5
    assert config.model.name == "lenet5"
    assert "train.steps is 2.5; it must be a whole number" in refused(sections.change, config, {"train.steps": 2.5})
    pipeline = sections.change(config, {"augment.train": ("flip", "normalize"), "augment.flip.axis": "height"})
    assert pipeline.augment.flip.axis == "height"


def test_a_missing_section_is_named():
    config = whole().unlock()
    del config.schedule
    assert "schedule is missing" in refused(sections.validate, config)


def test_one_of_gives_the_value_back_or_names_the_nearest():
    assert sections.one_of("a", ("a", "b")) == "a"
    assert refused(sections.one_of, "mlpp", ("mlp", "cnn")) == "variant is 'mlpp'; nearest: mlp; allowed: cnn, mlp"


def test_the_list_has_every_entry_with_options_and_defaults():
    text = sections.listing()
    for room in ("models", "data", "tasks", "augment", "optimizers", "schedules"):
        for name in sections.entries(room):
            assert f"\n  {name} " in text, (room, name)
    assert "lr=0.001" in sections.listing("adam")
    assert "as resnet, but" in sections.listing("models")
    assert "\n                     convnext as it is" in sections.listing("models")  # a variant of the defaults
    assert max(map(len, text.splitlines())) <= 120
    assert "nearest: lenet5" in refused(sections.listing, "lenet")


@hypothesis.given(st.text(max_size=20))
def test_any_word_for_a_number_gives_a_number_or_one_clear_error(word):
    try:
        assert _values.parsed("optimizer.lr", word, Option(float, 0.1)) >= 0
    except ConfigError as error:
        complaint = str(error)
    else:
        complaint = "optimizer.lr is fine"
    assert complaint.startswith("optimizer.lr is ")
    assert len(complaint.splitlines()) == 1
