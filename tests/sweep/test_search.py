"""Points that are drawn: by Optuna, in batches that train as one program, and populations that copy the best."""

import sys

import pytest

import cnnjax
from cnnjax.config import ConfigError, change
from cnnjax.programs import results
from cnnjax.runs.signals import Stop
from cnnjax.sweep.plots import draw_paths
from cnnjax.sweep.points import packs_of, resolved
from cnnjax.sweep.population import Population
from cnnjax.sweep.search import evolve, goal_of, search
from cnnjax.sweep.space import choice, log_uniform, sample, uniform
from cnnjax.sweep.table import table_of
from cnnjax.sweep.training import train_pack
from cnnjax.train.loop import Preempted
from tests.sweep.points import GATED, get_config, here, lines, soon, start, told
from tests.sweep.points import search as space

SILENT = {"say": lambda text: None}
GOAL = ("eval.accuracy", True)


def plain():
    """The points' config with a net that is compiled sooner."""
    return change(get_config(), {"model.name": "tests.train.own_nets:without_train", "optimizer.ema": 0.0})


class StoppedAt(Population):
    """A population that is told to stop, as by a signal, once it has decided at a step."""

    def __init__(self, stop, step, *arguments):
        super().__init__(*arguments)
        self._stop, self._step = stop, step

    def decide(self, step, *rest):
        self._stop.wanted |= step == self._step
        return super().decide(step, *rest)


def test_a_search_must_not_look_at_the_test_set_unless_told():
    config = change(get_config(), {"data.holdout": 0})
    with pytest.raises(ConfigError, match="official test set"):
        goal_of(config)
    assert goal_of(config, on_test=True) == ("test.accuracy", True)
    assert goal_of(get_config()) == ("eval.accuracy", True)


def test_a_dry_run_of_a_search_prints_where_it_looks_and_trains_nothing(tmp_path, capsys):
    here(f"--workdir={tmp_path / 's'}", "--search=tpe", "--trials=5", "--dry_run")
    assert capsys.readouterr().out == "optimizer.lr  log_uniform(0.0001, 1)\n5 points, by tpe\n"
    assert not (tmp_path / "s").exists()


def test_a_population_copies_the_best_and_stopped_and_resumed_it_is_the_same(tmp_path):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    runs, dead = evolve(plain(), space(), straight, members=4, goal=GOAL, strategy="map", **SILENT)
    assert not dead
    copies = [line for run in runs for line in lines(run.workdir) if line.get("name") == "copied"]
    assert {line["step"] for line in copies} == {8, 16}
    assert all(1e-4 <= line["optimizer.lr"] <= 1 for line in copies)
    ended = {run.name: float(cnnjax.load(run.workdir).state.hparams["optimizer.lr"]) for run in runs}
    table = table_of(straight)
    assert {row["point"]: row["optimizer.lr"] for row in table.rows} == pytest.approx(ended)
    copied = next(row for row in table.rows if "path" in row)
    assert copied["path"].endswith(f"→ {copied['optimizer.lr']:.4g} ({table.paths[copied['point']][-1][0]})")
    assert len(draw_paths(table).axes[0].lines) == len(table.paths) > 0
    assert [row.count for row in results.paper(results.runs_of(straight)).rows] == [1] * 4, "they are no repetitions"
    points = [{**point, "seed": k} for k, point in enumerate(sample(space(), 4))]
    (pack,) = packs_of(resolved(plain(), points, stopped))
    with Stop() as stop, pytest.raises(Preempted):
        train_pack(pack, stop, strategy="map", policy=StoppedAt(stop, 8, space(), "accuracy"), **SILENT)
    assert all(run.status["status"] == "interrupted" for run in pack.runs)
    resumed, _ = evolve(plain(), space(), stopped, members=4, goal=GOAL, strategy="map", **SILENT)
    assert [lines(run.workdir) for run in resumed] == [lines(run.workdir) for run in runs]
    assert table_of(stopped).text() == table_of(straight).text()


@pytest.mark.doors
def test_a_population_that_is_killed_between_two_saves_goes_on_to_the_same_table(tmp_path):
    straight, killed, gate = tmp_path / "straight", tmp_path / "killed", tmp_path / "gate"
    runs, dead = evolve(get_config("gated"), space(), straight, members=4, goal=GOAL, strategy="map", **SILENT)
    assert not dead
    flags = (f"--workdir={killed}", "--search=population", "--trials=4", "--pack=map")
    process = start(*flags, config=GATED, gate=f"{gate}:20")  # after it has copied twice and saved once
    assert soon(gate.exists, process)
    process.kill()
    process.communicate()
    code, words = told(*flags, config=GATED)
    assert code == 0, words
    assert [lines(killed / run.name) for run in runs] == [lines(run.workdir) for run in runs]
    assert table_of(killed).text() == table_of(straight).text()


def test_a_population_changes_numbers_alone():
    for path, distribution in (("train.batch", uniform(8, 64)), ("optimizer.lr", choice(0.1, 0.2))):
        with pytest.raises(ConfigError, match=f"{path} is no number of the compiled step"):
            Population({path: distribution}, "accuracy").check(get_config())


def test_members_that_came_to_nothing_go_on_from_the_best_within_their_bounds():
    population = Population({"optimizer.lr": log_uniform(0.01, 1.0)}, "accuracy")
    metrics = [{"accuracy": 0.9}, {}, {"accuracy": 0.5}, {"accuracy": 0.1}]
    numbers = [{"optimizer.lr": 0.99}] * 4
    decision = population.decide(8, [None] * 4, metrics, numbers)
    assert decision.source == (0, 0, 2, 0)
    assert decision.hparams[0] == decision.hparams[2] == {}
    assert all(decision.hparams[k]["optimizer.lr"] in (1.0, pytest.approx(0.99 / 1.25)) for k in (1, 3))
    assert population.decide(8, [None] * 4, metrics, numbers) == decision


def test_a_search_without_optuna_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"pip install 'cnnjax\[search\]'"):
        search(get_config(), space(), tmp_path)


@pytest.mark.doors
def test_a_search_asks_for_packs_prunes_and_killed_in_the_middle_it_goes_on_to_the_same_table(tmp_path):
    pytest.importorskip("optuna", reason="the extra search is not installed")
    options = {"sampler": "tpe", "pruner": "median", "together": 4, "trials": 8, "goal": GOAL, "strategy": "turns"}
    said = []
    runs, dead = search(get_config("gated"), space(), tmp_path / "whole", say=said.append, **options)
    assert not dead
    assert [run.name for run in runs] == [f"trial{number:04}" for number in range(8)]
    assert {run.status["status"] for run in runs} == {"complete", "pruned"}
    assert [line for line in said if line.startswith("pack")] == ["pack 1 of 1: 4 points"] * 2
    assert any(line.startswith("4 of 8 points; best eval.accuracy") for line in said)
    flags = (f"--workdir={tmp_path / 'killed'}", "--search=tpe", "--prune=median", "--together=4", "--trials=8")
    gate, metrics = tmp_path / "gate", tmp_path / "killed" / "trial0005" / "metrics.jsonl"
    process = start(*flags, "--pack=turns", config=GATED, gate=f"{gate}:{24 + 20}")  # within the second batch of points
    assert soon(lambda: gate.exists() and metrics.exists(), process)
    process.kill()
    process.communicate()
    how = ("--launcher=local", "--patience=600")  # a worker asks the same policy
    code, words = told(*flags, "--pack=turns", *how, config=GATED)
    assert code == 0, words
    assert "finished trial0004 and 3 more" in words
    assert table_of(tmp_path / "killed").text() == table_of(tmp_path / "whole").text()


def test_a_point_alone_is_pruned_and_one_that_is_dead_is_told_again_by_the_next_call(tmp_path):
    pytest.importorskip("optuna", reason="the extra search is not installed")
    rates = {"optimizer.lr": choice(1e-4, 0.3, 1e38)}
    options = {"sampler": "random", "pruner": "median", "together": 1, "trials": 7, "goal": GOAL, "strategy": "turns"}
    runs, dead = search(get_config(), rates, tmp_path, retries=0, **options, **SILENT)
    again = search(get_config(), rates, tmp_path, retries=0, **options, **SILENT)[1]
    assert [point.name for point in dead] == [run.name for run in runs if run.config.optimizer.lr > 1]
    assert again == dead
    assert {run.config.optimizer.lr: run.status["status"] for run in runs} == {
        0.3: "complete", 1e38: "diverged", 1e-4: "pruned",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, r"search\(\) is {}; it must be"),
        ({"optimizer.lr": (0.1, 0.2)}, r"optimizer.lr is \(0.1, 0.2\); write uniform"),
    ],
)
def test_what_is_no_space_is_refused_in_a_line(space, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        evolve(get_config(), space, tmp_path, goal=GOAL, **SILENT)


def test_a_population_of_several_programs_is_refused(tmp_path):
    config = change(get_config(), {"train.devices": 2})
    with pytest.raises(ConfigError, match=r"a population is one program: train\.devices asks for several devices"):
        evolve(config, space(), tmp_path, members=2, goal=GOAL, **SILENT)


@pytest.mark.parametrize("sampler", ["random", "cma"])
def test_points_of_every_sampler_lie_in_the_space(sampler, tmp_path):
    pytest.importorskip("optuna", reason="the extra search is not installed")
    pytest.importorskip("cmaes", reason="the extra search is not installed")
    config = change(get_config(), {"train.steps": 2, "eval.test": False})
    wide = {"optimizer.lr": log_uniform(1e-4, 1e-2), "optimizer.momentum": uniform(0.0, 0.9)}
    runs, dead = search(
        config, wide, tmp_path, sampler=sampler, trials=4, together=2, goal=GOAL, strategy="turns", **SILENT
    )
    assert not dead
    assert all(1e-4 <= run.config.optimizer.lr <= 1e-2 and run.config.optimizer.momentum <= 0.9 for run in runs)
    assert len({run.config.optimizer.lr for run in runs}) == 4
