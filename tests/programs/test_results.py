"""Runs summed up in a table."""

import json

import pytest

import cnnjax
from cnnjax.config import ConfigError, load
from cnnjax.programs import results
from cnnjax.sweep.local import run_sweep

SMALL = (
    "--config.model.hidden=8",
    "--config.augment.train=normalize",
    "--config.train.devices=1",
    "--config.report.quiet=true",
    "--config.report.tensorboard=false",
    "--config.report.page=false",
    "--config.report.curves=false",
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        flags = (*SMALL, f"--config.seed={seed}", "--config.train.steps=4")
        cnnjax.run(load(f"{root}/configs/digits.py:mlp", flags), folder / str(seed))
    return folder


def test_seeds_of_one_config_stand_in_one_row_with_their_mean(runs):
    rows = results.summed_up([results.run_of(runs / name) for name in "01"])
    ((metrics, count, *_),) = rows.values()
    found = [json.loads((runs / name / "status.json").read_text())["test"]["accuracy"] for name in "01"]
    assert count == "2"
    assert metrics.startswith(f"accuracy {50 * sum(found):.2f} ± ")


def test_a_run_of_the_same_command_whose_config_differs_is_refused_unless_the_option_is_newer(runs):
    one, two = (results.run_of(runs / name) for name in "01")
    two["options"] = {**two["options"], "model.newer": 1}
    (cells,) = results.summed_up([one, two]).values()
    assert cells[1] == "2"
    two["options"] |= {"train.batch": 7}
    with pytest.raises(ConfigError, match=r"have one command and other configs: train\.batch is 64 and 7; sum one"):
        results.summed_up([one, two])


def test_rows_of_other_configs_stay_in_the_file(runs, tmp_path, capsys):
    path = tmp_path / "RESULTS.md"
    other = ["accuracy 1.00 %", "1", "3 s", "2 cores", "0.11", "abc"]
    path.write_text(results.as_text({"`experiments.train --config=other.py`": other}))
    results.main([f"--runs={runs}/*", f"--output={path}"])
    assert capsys.readouterr().out.endswith(f"\n1 of 2 rows of {path} written\n")
    results.main([f"--runs={runs}/*", f"--output={path}"])
    kept = results._rows(path.read_text())
    assert len(kept) == 2
    assert kept["`experiments.train --config=other.py`"] == other


def test_points_of_a_sweep_make_a_row_for_each_but_for_their_seeds(tmp_path, root, monkeypatch):
    workdir = tmp_path / "sweep"
    points = [{"optimizer.lr": lr, "seed": seed} for lr in (1e-3, 0.01) for seed in range(2)]
    config = load(f"{root}/configs/digits.py:mlp", (*SMALL, "--config.train.steps=2"))
    monkeypatch.setattr("sys.argv", ["…/sweep.py", "--config=configs/a.py", f"--workdir={workdir}"])
    assert not run_sweep(config, points, workdir, strategy="turns", say=lambda text: None)
    rows = results.summed_up(results.runs_of(workdir))
    command = "`experiments.sweep --config=configs/a.py`"
    assert {name: cells[1] for name, cells in rows.items()} == {f"{command} lr 0.001": "2", f"{command} lr 0.01": "2"}
    assert results._rows(results.as_text(rows)) == rows


def test_a_row_is_read_as_it_was_written_whatever_it_lacks():
    rows = {"`experiments.train --config=configs/a.py`": ["accuracy 99.00 %", "3", "1 s", "2 cores", "0.12", ""]}
    assert results._rows(results.as_text(rows)) == rows


def test_rows_that_differ_in_much_are_shown_one_under_the_other():
    rows = {"`experiments.train --config=configs/a.py`": ["accuracy 99.00 %", "3", "1 s", "2 cores", "0.12", "abc"]}
    assert results._briefly(rows) == "`experiments.train --config=configs/a.py`\n  accuracy 99.00 %, n = 3"


def test_a_row_has_one_name_however_its_run_was_started():
    row = "experiments.train --config=configs/digits.py:mlp --config.optimizer.lr=0.1"
    for start in ("/home/me/cnnjax/experiments/train.py", "cnnjax train"):
        for config in (("--config=configs/digits.py:mlp",), ("--config=digits:mlp",), ("--config", "digits:mlp")):
            words = [start, *config, "--config.seed=3", "--config.optimizer.lr=0.1", "--workdir=runs/a"]
            assert results._command(words) == row
    assert results._command(["cnnjax sweep", "--config=digits"]) == "experiments.sweep --config=configs/digits.py"
    for folder in ("/home/me/sets/", "~/", "C:\\sets\\", "/"):
        words = ["cnnjax train", "--config=bccd", f"--config.data.root={folder}bccd"]
        assert results._command(words) == "experiments.train --config=configs/bccd.py --config.data.root=…/bccd"
    quiet = ["cnnjax train", "--config=digits", "--config.report.page=false", "--config.checkpoint.keep=2"]
    assert results._command(quiet) == "experiments.train --config=configs/digits.py"
    assert results._command(["cnnjax train", "--config=my/own.py"]) == "experiments.train --config=my/own.py"


def test_a_run_that_is_not_finished_is_refused(runs, tmp_path):
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / name).write_text((runs / "0" / name).read_text())
    with pytest.raises(ConfigError, match=r"has no status\.json; --runs takes the workdirs of finished runs"):
        results.run_of(tmp_path)
    (tmp_path / "status.json").write_text('{"status": "interrupted", "step": 2}')
    with pytest.raises(ConfigError, match="is interrupted at step 2; resume it, then sum it up"):
        results.run_of(tmp_path)
    with pytest.raises(ConfigError, match="is no directory; --runs takes workdirs"):
        results.main([f"--runs={tmp_path}/none"])


def test_a_sweep_is_drawn_whatever_the_order_of_its_flags_and_whatever_it_measures():
    one = "`experiments.sweep --config=configs/curve_a.py:full --config.train.epochs=1 --pack=turns` pool max"
    other = "`experiments.sweep --config.train.epochs=1 --config configs/curve_a.py --pack=turns` pool max"
    rows = {one: ["miou 61.50 ± 2.00 %; loss 0.3", "2"], other: ["loss 0.5120 ± 0.1000", "2"]}
    assert results._panels(rows) == {
        ("curve_a:full, epochs 1", "miou, %"): [("pool max", 61.5, 2.0)],
        ("curve_a, epochs 1", "loss"): [("pool max", 0.512, 0.1)],
    }


def test_the_table_of_a_paper_is_written_where_it_is_asked_for_and_nothing_else(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in results.FLAGS:
        results.FLAGS[name].unparse()
    results.main([f"--runs={runs}/*", "--latex=a.tex", "--markdown=a.md", "--csv=a.csv"])
    assert {path.name for path in tmp_path.iterdir()} == {"a.tex", "a.md", "a.csv"}
    text = (tmp_path / "a.tex").read_text()
    assert text.splitlines()[2] == r"accuracy, \% & loss & n \\"
    assert r"$\pm$" in text
    found = [json.loads((runs / name / "status.json").read_text())["test"]["accuracy"] for name in "01"]
    head, row = (tmp_path / "a.csv").read_text().splitlines()
    assert head == "accuracy,accuracy deviation,loss,loss deviation,n"
    assert float(row.split(",")[0]) == pytest.approx(sum(found) / 2)
    assert f"{50 * sum(found):.2f} ± " in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"--latex=none/a\.tex can't be written: No such file"):
        results.main([f"--runs={runs}/*", "--latex=none/a.tex"])


def test_the_sweeps_of_a_file_are_drawn_and_what_is_none_is_told(tmp_path, capsys):
    path, picture = tmp_path / "RESULTS.md", tmp_path / "curves.png"
    point = "`experiments.sweep --pack=turns --config=configs/curve_a.py` pool {}, lr 0.1"
    cells = ["accuracy 91.00 ± 0.50 %", "2", "3 s", "2 cores", "0.12", "abc"]
    rows = {"`experiments.train --config=configs/b.py`": cells} | {point.format(pool): cells for pool in ("avg", "max")}
    points = [("pool avg, lr 0.1", 91.0, 0.5), ("pool max, lr 0.1", 91.0, 0.5)]
    assert results._panels(rows) == {("curve_a", "accuracy, %"): points}
    path.write_text(results.as_text(rows))
    results.main([f"--output={path}", f"--picture={picture}"])
    assert capsys.readouterr().out == f"1 sweep drawn in {picture}\n"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(ConfigError, match="no row of the file is a point of a sweep"):
        results.main([f"--output={tmp_path / 'other.md'}", f"--picture={picture}"])
    for wrong in (tmp_path / "missing" / "a.png", tmp_path / "a.foo"):
        with pytest.raises(ConfigError, match="can't be written: "):
            results.main([f"--output={path}", f"--picture={wrong}"])
    path.write_bytes(b"\xff\xfe")
    for wrong in (path, tmp_path):
        with pytest.raises(ConfigError, match="can't be read: "):
            results.main([f"--output={wrong}", f"--picture={picture}"])
