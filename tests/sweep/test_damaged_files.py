"""What is torn or changed in a file of one point is said, or refused in words, and takes nothing from the others."""

import json
import shutil

import pytest

from cnnjax.config import ConfigError
from cnnjax.programs import results
from cnnjax.runs.json_files import read_status
from cnnjax.runs.reports import Report
from cnnjax.runs.workdir import write_json, write_status
from cnnjax.sweep.folder import note_strategy, read_folder, strategy_of, write_folder
from cnnjax.sweep.page import write_page
from cnnjax.sweep.points import packs_of, preview, resolved
from cnnjax.sweep.table import table_of
from tests.sweep.points import get_config, here, sweep

CONTENTS = {
    "nothing": b"",
    "0xff": b"\xff\xfe\xff\n",
    "NUL": bytes(100),
    "a torn object": b'{"status": "comp',
    "a list": b"[1, 2]\n",
    "a number": b"3\n",
    "a word": b'"complete"\n',
    "null": b"null\n",
    "an object of something else": b'{"a": 1}\n',
    "an object with other types": b'{"status": 3, "step": "x", "kind": [], "metric": [1], "points": {}, "config": 1}\n',
    "numbers beyond all floats": b'{"step": %s, "kind": "train", "loss": %s}\n' % (b"9" * 400, b"9" * 400),
    "brackets without end": b"[" * 100_000,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sweep whose four points are complete."""
    workdir = tmp_path_factory.mktemp("sweep") / "s"
    runs = resolved(get_config(), sweep(), workdir)
    write_folder(workdir, runs)
    for number, run in enumerate(runs):
        run.workdir.mkdir()
        with Report(run.workdir, total_steps=8, tensorboard=False, quiet=True) as report:
            for step in (4, 8):
                report.train(step, {"loss": 1.0}, epoch=1.0, batch=32)
                report.eval(step, "eval", {"loss": 1.0 + number, "accuracy": 0.1 * (number + 1)})
            status = {"metric": "accuracy", "higher": True, "eval": {"accuracy": 0.1}, "lines": 4}
            write_status(run.workdir, "complete", step=8, detail=status)
        config = json.loads((workdir / "sweep.json").read_text())["points"][number]["config"]
        story = {"config": config, "command": ["cnnjax train"], "devices": {"cpu": 1}, "versions": {"jax": "1"}}
        write_json(run.workdir / "config.json", story)
    return workdir


def read_by_all(workdir):
    """The table that every reader has gone through; what any of them refuses is left out of nobody's sight."""
    table = table_of(workdir)
    assert all((table.text(), table.as_csv(), table.as_markdown(), table.as_latex(), table.summary().text()))
    preview(packs_of(read_folder(workdir)))
    return table


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("file", ["metrics.jsonl", "status.json"])
def test_a_damaged_file_of_one_point_is_said_and_the_table_has_all_the_others(file, content, whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "s")
    before = table_of(whole)
    name = before.rows[1]["point"]
    (tmp_path / "s" / name / file).write_bytes(CONTENTS[content])
    table = read_by_all(tmp_path / "s")
    assert any(str(tmp_path / "s" / name / file) in note for note in table.notes), table.notes
    others = [row for row in table.rows if row["point"] != name]
    assert others == [row for row in before.rows if row["point"] != name]
    (mine,) = (row for row in table.rows if row["point"] == name)
    assert mine["status"] == ("unreadable" if file == "status.json" else "complete")
    here(f"--workdir={tmp_path / 's'}", "--table", config="")
    assert str(tmp_path / "s" / name / file) in capsys.readouterr().err
    if file == "status.json":
        with pytest.raises(ConfigError, match=r"status\.json is damaged; resume the run"):
            results.runs_of(tmp_path / "s")
        write_status(tmp_path / "s" / name, "complete", step=8)
        assert read_status(tmp_path / "s" / name)["status"] == "complete"
    else:
        assert len(results.runs_of(tmp_path / "s")) == 4
        assert str(tmp_path / "s" / name / file) in capsys.readouterr().err


@pytest.mark.parametrize("file", ["metrics.jsonl", "status.json", "config.json"])
def test_a_directory_in_a_files_place_is_said(file, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "s")
    path = tmp_path / "s" / table_of(whole).rows[0]["point"] / file
    path.unlink()
    path.mkdir()
    table = read_by_all(tmp_path / "s")
    assert file == "config.json" or [note for note in table.notes if str(path) in note]
    with pytest.raises(ConfigError, match=rf"has no {file}"):
        results.runs_of(tmp_path / "s")


@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_config_of_one_point_is_refused_by_name_where_it_is_needed(content, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "s")
    path = tmp_path / "s" / table_of(whole).rows[0]["point"] / "config.json"
    path.write_bytes(CONTENTS[content])
    assert read_by_all(tmp_path / "s").rows == table_of(whole).rows
    with pytest.raises(ConfigError, match=r"/config\.json (is not JSON any more|holds no ).*; restore it from a copy"):
        results.runs_of(tmp_path / "s")


@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_list_of_points_is_refused_in_words(content, whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "s")
    (tmp_path / "s" / "sweep.json").write_bytes(CONTENTS[content])
    for reader in (table_of, read_folder, results.runs_of):
        with pytest.raises(ConfigError, match=r"sweep\.json can't be read .*; give the sweep's --config again"):
            reader(tmp_path / "s")
    write_folder(tmp_path / "s", resolved(get_config(), sweep(), tmp_path / "s"))
    assert "it is written anew, with the points of this call alone" in capsys.readouterr().err
    assert read_by_all(tmp_path / "s").rows == table_of(whole).rows


@pytest.mark.parametrize("name", ["..", ".", "", "../../other", "/etc", "a/../../b", "a\0b"])
def test_points_that_lead_out_of_the_sweep_are_refused(name, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "s")
    listed = json.loads((whole / "sweep.json").read_text())
    listed["points"][1]["name"] = name
    write_json(tmp_path / "s" / "sweep.json", listed)
    for reader in (table_of, read_folder, results.runs_of):
        with pytest.raises(ConfigError, match=r"point 2 is named .*, which is no folder of the sweep; give the"):
            reader(tmp_path / "s")


@pytest.mark.parametrize("entry", [3, None, [], {"name": "a"}, {"name": 3, "overrides": {}, "config": {}}])
def test_a_point_that_is_none_is_refused_by_its_place(entry, whole, tmp_path):
    listed = json.loads((whole / "sweep.json").read_text())
    listed["points"][2] = entry
    write_json(tmp_path / "sweep.json", listed)
    with pytest.raises(ConfigError, match=r"sweep\.json: point 3 (is|has) "):
        table_of(tmp_path)


@pytest.mark.parametrize("config", [{}, {"model": 3}, {"model": {"name": 3}}, {"train": []}])
def test_a_points_config_that_is_none_is_refused_with_its_name(config, whole, tmp_path):
    listed = json.loads((whole / "sweep.json").read_text())
    listed["points"][2]["config"] = config
    write_json(tmp_path / "sweep.json", listed)
    with pytest.raises(ConfigError, match=rf"sweep\.json, point {listed['points'][2]['name']}: "):
        read_folder(tmp_path)


def test_a_damaged_strategy_of_a_pack_is_refused_in_words(whole, tmp_path):
    runs = read_folder(whole)
    note_strategy(tmp_path, runs, "map")
    assert strategy_of(tmp_path, runs, "auto") == "map"
    (path,) = (tmp_path / "packs").iterdir()
    for content in CONTENTS.values():
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=rf"{path.name} (is not JSON any more|holds no )"):
            strategy_of(tmp_path, runs, "auto")


def test_the_page_is_drawn_of_a_sweep_with_damaged_points(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "s")
    names = [row["point"] for row in table_of(whole).rows]
    for name, content in zip(names, ("0xff", "a list", "numbers beyond all floats"), strict=False):
        (tmp_path / "s" / name / "metrics.jsonl").write_bytes(CONTENTS[content])
    write_page(table_of(tmp_path / "s"), tmp_path / "s", tmp_path / "page.html")
    assert names[3] in (tmp_path / "page.html").read_text()
