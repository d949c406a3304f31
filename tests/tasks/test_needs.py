"""A task on data without its words says which words it needs, and which readers give them."""

import inspect

import pytest

from cnnjax.config import augmentation, entries, experiment, gives, listing, section
from cnnjax.config.signatures import is_entry
from cnnjax.refusals import ConfigError, LackingError
from cnnjax.train.job import opened

MADE = {  # data that are made, with all that they can give
    "digits": {},
    "letters": {},
    "shapes": {"train": 8, "test": 4},
    "figures": {"train": 8, "test": 4},
    "solids": {"train": 8, "test": 4},
}
NEEDS = {  # what a task can't be without
    "segmentation": ("segments",),
    "localization": ("boxes",),
    "detection": ("boxes", "classes"),
    "detection_3d": ("corners", "heights", "classes"),
    "pose": ("points",),
}


def config(task, data, **options):
    return experiment(
        data=section("data", data, **MADE[data], **options),
        model=section("models", "mlp"),
        task=section("tasks", task),
        augment=augmentation(),
        optimizer=section("optimizers", "sgd"),
        schedule=section("schedules", "constant"),
        train={"steps": 1, "batch": 4, "devices": 1},
    )


@pytest.mark.parametrize("data", MADE)
@pytest.mark.parametrize("task", [name for name in sorted(entries("tasks")) if name in NEEDS])
def test_a_task_says_which_words_it_needs_and_which_readers_give_them(task, data):
    function = entries("data")[data]
    words = {word for word, flag in gives(function).items() if not flag}
    if set(NEEDS[task]) <= words:
        opened(config(task, data))
        return
    with pytest.raises(ConfigError) as error:
        opened(config(task, data))
    assert not isinstance(error.value, LackingError)
    needs, readers = str(error.value).splitlines()
    assert needs.startswith(f"task.name is '{task}', which needs ")
    assert "; the data has " in needs
    known = [name for name, reader in entries("data").items() if set(NEEDS[task]) <= set(gives(reader))]
    assert known
    assert all(name in readers for name in known)
    assert readers.endswith("choose one of these as data.name, or another task.name")


@pytest.mark.parametrize("data", sorted(set(MADE) & {n for n, reader in entries("data").items() if gives(reader)}))
def test_what_a_reader_says_that_it_gives_is_in_its_examples(data):
    function = entries("data")[data]
    given = gives(function)
    flags = {flag.partition("=")[0]: True for flag in given.values() if flag}
    assert is_entry("data", function)
    assert set(flags) <= set(inspect.signature(function).parameters)
    assert set(given) <= set(function(**MADE[data], **flags).facts.fields)
    plain = {word for word, flag in given.items() if not flag}
    assert plain <= set(function(**MADE[data]).facts.fields)


def test_the_listing_says_what_a_reader_gives():
    assert "gives boxes, classes, present, instances (masks=true), points (points=true)" in " ".join(
        listing("coco").split()
    )
    assert "gives points, visible" in listing("figures")
