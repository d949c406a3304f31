"""Points as plain data, their names, and which of them are one program."""

import pytest

from cnnjax.config import ConfigError
from cnnjax.sweep.points import packs_of, preview, resolved
from cnnjax.sweep.search import check_space
from cnnjax.sweep.space import chain, choice, cross, grid, log_uniform, names_of, sample, seeds, uniform, zipped
from tests.sweep.points import get_config, here, sweep


def test_a_grid_has_every_combination_with_the_last_path_changing_fastest():
    assert grid({"a": (1, 2), "b": (3, 4)}) == [{"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4}]


def test_zipped_lists_go_side_by_side_and_must_be_of_one_length():
    assert zipped({"a": (1, 2), "b": (3, 4)}) == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    with pytest.raises(ValueError, match="a has 2, b has 1"):
        zipped({"a": (1, 2), "b": (3,)})


def test_cross_joins_points_and_refuses_two_values_for_one_path():
    assert cross(grid({"a": (1,)}), seeds(2)) == [{"a": 1, "seed": 0}, {"a": 1, "seed": 1}]
    with pytest.raises(ValueError, match="seed is in two of the lists"):
        cross(seeds(2), seeds(2))


def test_chain_lists_points_one_after_another():
    assert chain(seeds(1), grid({"a": (1,)})) == [{"seed": 0}, {"a": 1}]


def test_samples_lie_in_their_distributions_and_the_first_are_the_same_for_any_count():
    space = {"lr": log_uniform(1e-4, 1.0), "b": uniform(-1, 1), "c": choice("x", "y")}
    assert [str(each) for each in space.values()] == ["log_uniform(0.0001, 1)", "uniform(-1, 1)", "choice(x, y)"]
    points = sample(space, 200, seed=3)
    assert sample(space, 7, seed=3) == points[:7]
    assert sample(space, 7, seed=4) != points[:7]
    assert all(1e-4 <= p["lr"] <= 1 and -1 <= p["b"] <= 1 and p["c"] in "xy" for p in points)
    assert 70 < sum(p["lr"] < 1e-2 for p in points) < 130  # half of the decades


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: log_uniform(0, 1), "the bounds must be > 0"),
        (lambda: uniform(0, float("inf")), "the bounds must be finite numbers"),
        (lambda: log_uniform("1e-4", 1), "'1e-4', 1.: the bounds must be finite numbers"),
        (lambda: seeds(0), "seeds: the count is 0; it must be a whole number ≥ 1"),
        (lambda: sample({"a": uniform(0, 1)}, -1), "sample: the count is -1"),
        (lambda: cross({"a": (1, 2)}, seeds(2)), r"cross: {'a': \(1, 2\)} is no list of points"),
        (lambda: chain(seeds(1), []), r"chain: \[\] is no list of points"),
        (lambda: uniform(1, 1), "the first bound must be below the second"),
        (lambda: choice(), "nothing to choose from"),
        (lambda: sample({"a": 1.0}, 2), "a is 1.0; write uniform"),
        (lambda: grid({"a": 3}), "a is 3; give a tuple or list"),
        (lambda: grid({"a": ()}), "a has no values"),
        (lambda: names_of([{"a": 1}, {"a": 1}]), "two points of the sweep are the same: a=1"),
    ],
)
def test_what_is_no_space_is_refused_in_a_line(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_names_are_made_of_the_shortest_words_that_tell_paths_apart():
    points = [{"optimizer.lr": 0.1, "optimizer.generator.lr": 1e-5, "model.name": "mlp", "model.hidden": (64, 32)}]
    assert names_of(points) == ["optimizer.lr=0.1,generator.lr=1e-05,model=mlp,hidden=64+32"]
    assert names_of([{}]) == ["base"]
    assert names_of([{"model.name": "my_nets:tiny"}]) == ["model=my_nets-tiny"]


def test_points_whose_names_would_be_the_same_or_too_long_end_in_a_checksum():
    close = names_of([{"lr": 0.1234567}, {"lr": 0.12345671}, {"lr": 0.5}])
    assert len(set(close)) == 3
    assert [name.partition("~")[0] for name in close] == ["lr=0.123457", "lr=0.123457", "lr=0.5"]
    (long,) = names_of([{"model.name": "ß" * 300}])
    assert long.isascii()
    assert len(long) < 120


@pytest.mark.parametrize("points", [[], None, {"optimizer.lr": (0.1, 0.2)}, ["optimizer.lr"]])
def test_a_sweep_that_is_no_list_of_points_is_refused(points, tmp_path):
    with pytest.raises(ConfigError, match=r"sweep\(\) is .*; it must be a list of points, \[{'optimizer"):
        resolved(get_config(), points, tmp_path)


def test_points_that_differ_in_numbers_and_seeds_alone_are_one_program(tmp_path):
    runs = resolved(get_config(), sweep(), tmp_path)
    (pack,) = packs_of(runs)
    assert pack.shared
    assert [run.config.optimizer.lr for run in runs] == [0.003, 0.003, 0.03, 0.03]
    assert [len(pack.runs) for pack in packs_of(runs, most=3)] == [3, 1]


@pytest.mark.parametrize("path", ["model.norm_group", "train.batch", "optimizer.name", "train.steps"])
def test_points_that_differ_in_what_shapes_the_program_are_not(path, tmp_path):
    values = ("adam", "sgd") if path == "optimizer.name" else (8, 16)
    assert len(packs_of(resolved(get_config(), grid({path: values}), tmp_path))) == 2


def test_averaging_on_and_off_are_two_programs(tmp_path):
    points = grid({"optimizer.ema": (0.0, 0.5, 0.9)})
    assert [len(pack.runs) for pack in packs_of(resolved(get_config(), points, tmp_path))] == [1, 2]


def test_seeds_of_the_data_are_one_program_with_an_order_for_each(tmp_path):
    (pack,) = packs_of(resolved(get_config(), grid({"data.seed": (0, 1)}), tmp_path))
    assert not pack.shared
    assert "2 points train as one program and carry their own indices" in preview([pack])


@pytest.mark.parametrize(
    ("change", "words"),
    [({"train.devices": 2}, "asks for several devices"), ({"report.wandb": "mine"}, "one run a process")],
)
def test_points_that_have_to_train_by_themselves_are_told_with_the_reason(change, words, tmp_path):
    packs = packs_of(resolved(get_config(), [{**change, "seed": seed} for seed in range(2)], tmp_path))
    assert len(packs) == 2
    assert words in preview(packs)


def test_a_wrong_override_is_named_with_its_point(tmp_path):
    with pytest.raises(ConfigError, match=r"point lrr=0.1: .*optimizer\.lrr.*optimizer\.lr"):
        resolved(get_config(), [{"optimizer.lrr": 0.1}], tmp_path)


MISTYPED = """
from cnnjax.sweep.space import choice, grid
from tests.sweep.points import get_config
def sweep():
    return [*grid({"optimizer.lr": (0.1, 0.2)}), *grid({"model.norm": ("batch", "grop")})]
def search():
    return {"model.norm": choice("batch", "grop")}
"""


@pytest.mark.parametrize("flags", [("--dry_run",), (), ("--search=tpe", "--dry_run"), ("--search=tpe",)])
def test_a_sweep_over_a_mistyped_word_is_refused_before_its_first_point(flags, tmp_path):
    (tmp_path / "mistyped.py").write_text(MISTYPED)
    with pytest.raises(ConfigError, match=r"point norm=grop: model\.norm is 'grop'; nearest: group") as refused:
        here(f"--workdir={tmp_path / 's'}", *flags, config=tmp_path / "mistyped.py")
    assert refused.value.exit_code == 2
    assert not [*tmp_path.glob("s/*/*")], "no point has begun"


def test_a_space_that_reaches_beyond_an_options_bounds_is_refused():
    with pytest.raises(ConfigError, match=r"optimizer\.ema is 1\.5; it must be ≥ 0 and < 1"):
        check_space(get_config(), {"optimizer.lr": log_uniform(1e-3, 1.0), "optimizer.ema": uniform(0.5, 1.5)})
