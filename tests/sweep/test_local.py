"""A sweep as users run it: killed at any moment and started again it ends with the same table."""

import json
import re
import signal

import pytest

from cnnjax.config import change
from cnnjax.runs.lines import curves_of
from cnnjax.runs.workdir import hold
from cnnjax.sweep.folder import read_folder, write_folder
from cnnjax.sweep.launch import unit_of
from cnnjax.sweep.local import run_packs, run_sweep
from cnnjax.sweep.plots import draw_against, draw_importance, draw_learning, draw_parallel, share_of_variance
from cnnjax.sweep.points import Pack, packs_of, resolved
from cnnjax.sweep.table import table_of
from cnnjax.train.loop import Preempted
from tests.sweep.points import GATED, get_config, here, lines, soon, start, sweep, told
from tests.train.test_resume import StopAt


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The sweep that nothing disturbs."""
    workdir = tmp_path_factory.mktemp("whole")
    runs = resolved(get_config("gated"), sweep(), workdir)
    write_folder(workdir, runs)
    assert not run_packs(runs, workdir, strategy="turns", say=lambda text: None)
    return workdir


@pytest.mark.doors
def test_killed_and_started_again_it_has_the_same_table_and_a_second_process_is_told_who_holds_it(whole, tmp_path):
    names = [row["point"] for row in table_of(whole).rows]
    gate, metrics = tmp_path / "gate", tmp_path / names[0] / "metrics.jsonl"
    process = start(f"--workdir={tmp_path}", "--pack=turns", config=GATED, gate=f"{gate}:20")
    assert soon(lambda: gate.exists() and len(lines(metrics.parent)) >= 4, process)  # it stands between its two saves
    code, words = told(f"--workdir={tmp_path}", config=GATED)
    assert (code, f"in use by process {process.pid} on" in words) == (7, True)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert table_of(tmp_path).text() != table_of(whole).text()
    code, words = told(f"--workdir={tmp_path}", "--launcher=local", "--patience=600", config="")
    assert code == 0, words
    assert f"finished {runs_of(tmp_path)[0]} and 3 more\n4 points are complete" in words
    (log,) = (tmp_path / "parts").glob("*.log")
    assert "training by" not in log.read_text()  # the way is known from the first time
    assert table_of(tmp_path).text() == table_of(whole).text()
    assert {name: lines(tmp_path / name) for name in names} == {name: lines(whole / name) for name in names}


@pytest.mark.doors
def test_a_point_that_another_process_trains_is_left_to_it_and_the_others_train_together(tmp_path):
    runs = resolved(get_config(), sweep(), tmp_path)
    with hold(runs[0].workdir):
        code, words = told(f"--workdir={tmp_path}", "--pack=turns")
        assert code == 1, words
        assert f"{runs[0].name} is another process's: workdir {runs[0].workdir} is in use" in words
        assert f"1 of 4 points are not complete: {runs[0].name};" in words
        assert [run.status.get("status") for run in runs] == [None, *["complete"] * 3]
        part = tmp_path / "part.json"
        part.write_text(json.dumps([runs[0].name]))
        code, words = told(f"--workdir={tmp_path}", "--pack=turns", f"--part={part}", config="")
        assert (code, "in use by process" in words) == (7, True), words
    assert told(f"--workdir={tmp_path}", "--pack=turns")[0] == 0


def runs_of(workdir):
    return [run.name for run in read_folder(workdir)]


def test_a_dry_run_shows_points_and_packs_and_how_far_each_is(whole, capsys):
    here(f"--workdir={whole}", "--dry_run", config=GATED)
    words = capsys.readouterr().out
    assert "pack 1: 4 points train as one program and share their batches" in words
    assert words.count("complete") == 4


def test_a_sweep_with_other_values_is_refused_with_both_and_the_way_out(whole):
    runs = resolved(change(get_config("gated"), {"train.batch": 64}), sweep(), whole)
    with pytest.raises(ValueError, match=r"point lr=0\.003,seed=0 has another config: train\.batch: 32 → 64\nuse"):
        write_folder(whole, runs)


def test_points_go_on_with_a_changed_config_where_that_is_allowed_and_none_is_complete(tmp_path):
    points = [{"optimizer.lr": 0.003}, {"optimizer.lr": 0.03}]
    made = change(get_config("gated"), {"report.steps": 6})
    with pytest.MonkeyPatch.context() as patch:
        StopAt(13, patch)
        with pytest.raises(Preempted):
            run_sweep(made, points, tmp_path, strategy="turns", say=lambda text: None)
    clipped = change(made, {"optimizer.clip": 0.5})
    with pytest.raises(
        ValueError, match=r"another config: optimizer\.clip: 0\.0 → 0\.5\n.* or --allow_changes where no"
    ):
        run_sweep(clipped, points, tmp_path, say=lambda text: None)
    said = []
    assert not run_sweep(clipped, points, tmp_path, allow_changes=True, say=said.append)
    assert "resumed at step 13 of 24" in said
    assert "lr=0.003 and 1 more: optimizer.clip changed: 0.0 → 0.5" in said
    assert [run.config.optimizer.clip for run in read_folder(tmp_path)] == [0.5, 0.5]
    with pytest.raises(ValueError, match=r"another config: optimizer\.clip: 0\.5 → 0\.1\n"):
        run_sweep(change(made, {"optimizer.clip": 0.1}), points, tmp_path, allow_changes=True, say=lambda text: None)


def test_the_command_passes_on_that_changes_are_allowed(tmp_path):
    runs = resolved(get_config(), sweep(), tmp_path, allow_changes=True)
    for pack in (Pack((runs[0],)), Pack(tuple(runs))):
        assert unit_of(pack, tmp_path).command[-1] == "--allow_changes"
        assert (
            "--allow_changes" not in unit_of(Pack(tuple(resolved(get_config(), sweep(), tmp_path))), tmp_path).command
        )


def test_the_table_is_best_first_and_filtered_and_is_csv_and_markdown(whole):
    table = table_of(whole)
    assert table.metric == "eval.accuracy"
    values = [row["eval.accuracy"] for row in table.rows]
    assert values == sorted(values, reverse=True)
    losses = [row["eval.loss"] for row in table_of(whole, sort="eval.loss").rows]
    assert losses == sorted(losses)
    assert {row["optimizer.lr"] for row in table_of(whole, where=("optimizer.lr<0.01", "seed=1")).rows} == {0.003}
    assert table.as_csv().count("\n") == table.as_markdown().count("\n") - 1 == 5
    assert [row["count"] for row in table.over_seeds()] == [2, 2]
    with pytest.raises(ValueError, match=r"--sort is 'eval\.acuracy'; nearest: eval\.accuracy"):
        table_of(whole, sort="eval.acuracy")
    with pytest.raises(ValueError, match=r"optimizer\.lr is a number, 'x' is none"):
        table_of(whole, where=("optimizer.lr=x",))


def test_what_cannot_be_read_or_written_is_told_in_a_line(whole, tmp_path):
    with pytest.raises(ValueError, match=r"a\.csv can't be written: No such file or directory"):
        here(f"--workdir={whole}", f"--csv={tmp_path / 'none' / 'a.csv'}", config="")
    (tmp_path / "sweep.json").write_text('{"points": [')
    with pytest.raises(ValueError, match=r"sweep\.json can't be read .*; give the sweep's --config again"):
        table_of(tmp_path)


def test_every_picture_is_drawn_and_the_page_needs_nothing_else(whole, tmp_path):
    table = table_of(whole)
    figures = [draw_parallel(table), draw_against(table), draw_learning(table, whole), draw_importance(table)]
    assert all(figure.axes for figure in figures)
    (course,) = figures[2].axes
    assert len(course.lines) == len(course.collections) == 2, "a mean and a band for each rate"
    best = table.over_seeds()[0]["optimizer.lr"]
    assert figures[2].legends[0].texts[0].get_text() == f"lr {best}"
    (against,) = figures[1].axes
    assert [tick.get_text() for tick in against.get_xticklabels()] == ["0.003", "0.03"]
    assert curves_of(whole / table.rows[0]["point"], "eval.accuracy")[0] == [8, 16, 24]
    shares = share_of_variance(table_of(whole, sort="eval.loss"))
    assert shares["optimizer.lr"] > shares["seed"]
    here(f"--workdir={whole}", f"--html={tmp_path / 'a.html'}", f"--csv={tmp_path / 'a.csv'}", config="")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<svg") == 4
    assert page.count("<details") == 2  # means over seeds, and all points
    assert "<script" not in page
    assert "src=" not in page
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names)) > 100
    assert {"".join(pair) for pair in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)} <= set(names)
    assert (tmp_path / "a.csv").read_text() == table.as_csv()


def test_ticks_of_an_axis_stand_apart_and_a_legend_names_the_best_of_many(tmp_path):
    rates = [3e-4, 1e-3, 3e-3, 4e-3, 5e-3, 1e-2, 0.1]
    points = {f"{i}": {"optimizer.lr": lr, "model.width": i % 20} for i, lr in enumerate(rates * 20)}
    roster = [{"name": name, "overrides": point} for name, point in points.items()]
    (tmp_path / "sweep.json").write_text(json.dumps({"points": roster}))
    for name in points:
        (tmp_path / name).mkdir()
        line = {"step": 1, "kind": "eval", "split": "eval", "loss": 1.0, "accuracy": int(name) / 200}
        (tmp_path / name / "metrics.jsonl").write_text(f"{json.dumps(line)}\n")
    figure = draw_against(table_of(tmp_path), "optimizer.lr")
    figure.draw_without_rendering()
    for axis in (draw_parallel(table_of(tmp_path)).axes[0], figure.axes[0]):
        axis.figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in (*axis.get_xticklabels(), *axis.texts) if text.get_text()]
        assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    names = [text.get_text() for text in figure.legends[0].texts]
    assert len(names) == 9
    assert names[-1] == "12 others"


def test_the_table_over_seeds_is_printed_and_written_for_a_paper(whole, tmp_path, capsys):
    here(f"--workdir={whole}", "--table", config="")
    points, means = capsys.readouterr().out.split("\nmean ± deviation over seeds\n")
    assert len(points.splitlines()) == 5
    head, *rows = means.splitlines()
    assert head.split() == ["lr", "eval.accuracy,", "%", "eval.loss", "test.accuracy,", "%", "test.loss", "n"]
    assert len(rows) == 2
    here(
        f"--workdir={whole}", "--over_seeds", f"--latex={tmp_path / 'a.tex'}", f"--csv={tmp_path / 'a.csv'}", config=""
    )
    assert capsys.readouterr().out == means
    assert (tmp_path / "a.tex").read_text() == table_of(whole).summary().as_latex()
    assert (tmp_path / "a.csv").read_text().splitlines()[0].startswith("optimizer.lr,eval.accuracy,eval.accuracy dev")


def test_kinds_have_places_and_their_seeds_are_bars_and_overrides_of_train_and_eval_are_no_metrics(tmp_path):
    points = [{"model.pool": pool, "train.batch": 32, "eval.batch": 4, "seed": k} for pool in "ab" for k in range(2)]
    roster = [{"name": str(i), "overrides": point} for i, point in enumerate(points)]
    (tmp_path / "sweep.json").write_text(json.dumps({"points": roster}))
    for i in range(4):
        (tmp_path / str(i)).mkdir()
        line = {"step": 1, "kind": "eval", "split": "eval", "loss": 1.0, "accuracy": 0.1 * i}
        (tmp_path / str(i) / "metrics.jsonl").write_text(f"{json.dumps(line)}\n")
    table = table_of(tmp_path)
    assert table.metric == "eval.accuracy"
    assert {"train.batch", "eval.batch"} < set(table.shown)
    axes = draw_against(table, "model.pool").axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b"]
    assert [list(line.get_ydata()) for line in axes.lines] == [[pytest.approx(0.05), pytest.approx(0.25)]]
    assert len(axes.collections[0].get_segments()) == 2


def test_the_runs_say_which_metric_stands_first_and_which_end_of_it(tmp_path):
    values = {"a": 80.0, "b": 12.0, "c": 30.0}
    points = [{"name": name, "overrides": {"optimizer.error_lr": value}} for name, value in values.items()]
    (tmp_path / "sweep.json").write_text(json.dumps({"points": points}))
    for name, value in values.items():
        (tmp_path / name).mkdir()
        metrics = {"loss": 1 / value, "accuracy": 0.5, "perplexity": value, "raw_perplexity": value}
        line = {"step": 1, "kind": "eval", "split": "eval", **metrics}
        (tmp_path / name / "metrics.jsonl").write_text(f"{json.dumps(line)}\n")

    def order(sort=""):
        return "".join(row["point"] for row in table_of(tmp_path, sort=sort).rows)

    assert table_of(tmp_path).metric == "eval.accuracy"  # nobody has said anything
    assert (order("eval.perplexity"), order("-eval.perplexity"), order("eval.loss")) == ("acb", "bca", "acb")
    status = {"status": "interrupted", "metric": "perplexity", "higher": False}
    (tmp_path / "b" / "status.json").write_text(json.dumps(status))
    assert table_of(tmp_path).metric == "eval.perplexity"
    assert order() == order("eval.perplexity") == order("eval.raw_perplexity") == "bca"
    assert order("optimizer.error_lr") == "acb"  # an override is no metric
    assert table_of(tmp_path).over_seeds()[0]["mean"] == 12.0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--pack=vmpa",), r"--pack is 'vmpa'; nearest: vmap"),
        (("--launcher=locl",), r"--launcher is 'locl'; nearest: local"),
        (("--search=population", "--config.data.holdout=0"), r"must not select by it\nhold out examples"),
        (("--coordinator=auto",), r"a sweep is one process"),
        ((f"--workdir={__file__}",), r"test_local.py is a file; give a directory"),
        (("--search=population", "--prune=median"), r"--prune=median needs --search=tpe, cma or random"),
        (("--search=population", "--launcher=local"), r"a population is one program, in this process"),
        (("--search=tpe", "--prune=medain"), r"--prune is .medain.; nearest: median"),
        (("--search=tpe", "--together=0"), r"--together is .0.; it must be a whole number ≥ 1"),
    ],
)
def test_a_wrong_flag_is_refused_in_a_line(flags, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        here(f"--workdir={tmp_path / 's'}", *flags)


def test_the_benchmark_compares_sixteen_points_of_one_program(tmp_path, monkeypatch):
    monkeypatch.delenv("CNNJAX_DATA", raising=False)
    from experiments.benchmarks import sweeps

    (pack,) = packs_of(resolved(sweeps.get_config(), sweeps.sweep(), tmp_path))
    assert len(pack.runs) == 16
