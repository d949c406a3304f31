"""Sums up finished runs in a Markdown file: a row for each config, its seeds together; other rows stay.

  cnnjax results --runs=runs/mnist-0,runs/mnist-1,runs/mnist-2
  cnnjax results --runs='runs/*' --output=RESULTS.md
  cnnjax results --runs=runs/curve_depth

  --runs=DIR,DIR,…           workdirs, or patterns of them; seeds of one command make one row, and must agree in
                             all else; of a sweep, all its points
  --output=RESULTS.md        the file; "" prints the table
  --csv=FILE --markdown=FILE --latex=FILE
                             the table of these runs for a paper, rows told by what differs between them; the
                             file of --output is then written where it is named
  --picture=FILE             draws the sweeps that are in the file, a panel for each

A row holds the metrics of the test split at the last step (mean ± standard deviation over n seeds), the median time
spent in training steps, without compiling and measuring, the device, the versions and the commit.

Exit codes: 0 done · 2 usage, or a run that is not finished · 1 anything else
"""

import dataclasses
import glob
import math
import os
import re
import shlex
import statistics
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnnjax.config import ConfigError
from cnnjax.programs import process
from cnnjax.refusals import plain
from cnnjax.runs import summaries
from cnnjax.runs.curves import INK, dressed, literal
from cnnjax.runs.json_files import read_json, read_status
from cnnjax.runs.lines import faults_of, is_number, lines_of
from cnnjax.runs.summaries import FORMATS
from cnnjax.sweep.lineage import lineages
from cnnjax.sweep.listing import listing

__all__ = ["FLAGS", "main"]

FLAGS = flags.FlagValues()
flags.DEFINE_list("runs", [], "workdirs or patterns", flag_values=FLAGS)
flags.DEFINE_string("output", "RESULTS.md", "Markdown file", flag_values=FLAGS)
flags.DEFINE_string("picture", "", "picture of the sweeps", flag_values=FLAGS)
for _name in FORMATS:
    flags.DEFINE_string(_name, "", "a table for a paper", flag_values=FLAGS)

HEADER = ["command", "test", "n", "training", "device", "jax", "commit"]
_TOLD = 12  # options that may differ in a table that a terminal shows
_SILENT = ("report.", "checkpoint.", "data.workers", "data.resident")  # options that say nothing of a result
_QUIET = tuple(f"--config.{path}" for path in _SILENT)
# folders of this machine that lead to a file
_OWN = re.compile(r"(?<=[=,])(?:~|[A-Za-z]:)?[/\\](?:[^,]*[/\\])?(?=[^/\\,]+)")
_SHIPPED = re.compile(r"--config[= ](\w+)(:\w+)?(?!\S)")  # a config by its name, which is that of its file


def main(argv: list[str]) -> None:
    """Does what the arguments ask for."""
    process.read(FLAGS, argv)
    path = Path(FLAGS.output)
    if FLAGS.picture and not FLAGS.runs:
        draw(_kept(path), FLAGS.picture)
        return
    runs = [run for folder in _folders(FLAGS.runs) for run in runs_of(folder)]
    rows = summed_up(runs)
    summary = paper(runs)
    print(f"{summary.text() if len(summary.paths) <= _TOLD else _briefly(rows)}\n")
    for flag, writer in FORMATS.items():
        if FLAGS[flag].value:
            _write(flag, FLAGS[flag].value, getattr(summary, writer)())
    papers = [flag for flag in FORMATS if FLAGS[flag].value]
    kept = _kept(path) if FLAGS.output and (FLAGS["output"].present or FLAGS.picture or not papers) else {}
    if FLAGS.output and (FLAGS["output"].present or not papers):
        _write("output", path, as_text(kept | rows))
        print(f"{len(rows)} of {len(kept | rows)} rows of {path} written")
    elif not papers:
        print(plain(as_text(rows)))
    if FLAGS.picture:
        draw(kept | rows, FLAGS.picture)


def _briefly(rows: Mapping[str, list[str]]) -> str:
    """What was measured of each row, for a terminal."""
    return "\n".join(f"{plain(name)}\n  {values}, n = {count}" for name, (values, count, *_) in rows.items())


def _write(flag: str, path: str | Path, text: str) -> None:
    try:
        Path(path).write_text(text)
    except OSError as error:
        raise ConfigError(f"--{flag}={path} can't be written: {error.strerror}") from None


def paper(runs: Sequence[Mapping]) -> summaries.Summary:
    """The table of a paper: an experiment a row, told by the options that differ, mean ± deviation of its metrics."""
    names = dict.fromkeys(name for run in runs for name in run["metrics"])
    shown = [name for name in names if not name.startswith(("raw_", "iou_"))]
    own = [{path: value for path, value in run["options"].items() if not path.startswith(_SILENT)} for run in runs]
    found = summaries.summed_up([(each, run["metrics"]) for each, run in zip(own, runs, strict=True)], shown)
    return dataclasses.replace(found, metrics=tuple(sorted(found.metrics, key=lambda name: name.endswith("loss"))))


def runs_of(folder: Path) -> list[dict]:
    """What a finished run says of itself, or the points of a sweep, which are told by their overrides.

    Members of a population by the numbers that they ended with.
    """
    if not (folder / "sweep.json").is_file():
        return [run_of(folder)]
    sweep = listing(folder)
    points = {point["name"]: point["overrides"] for point in sweep["points"]}
    paths, runs = lineages(points, {name: lines_of(folder / name) for name in points}), []
    for name, begun in points.items():
        run, ended = run_of(folder / name), dict(paths[name][-1][1]) if name in paths else {}
        ended |= {"member": name} if paths else {}  # those that copied one another are no repetitions
        own = {path: value for path, value in {**begun, **ended}.items() if path not in summaries.SEEDS}
        label = ", ".join(f"{_word(path)} {summaries.short_value(value)}" for path, value in own.items())
        options = {"options": run["options"] | ended, "command": _command(sweep["command"]), "point": label}
        runs.append(run | options)
    return runs


def run_of(folder: Path) -> dict:
    """What one finished run says of itself: command without seed and workdir, metrics, seconds, origin."""
    for name in ("config.json", "status.json", "metrics.jsonl"):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} has no {name}; --runs takes the workdirs of finished runs")
    record = read_json(folder / "config.json", {"config": dict, "command": list, "devices": dict, "versions": dict})
    status = read_status(folder)
    metrics, commit = status.get("test") or status.get("eval"), str(record.get("commit") or "")
    if status["status"] == "unreadable" or (status["status"] == "complete" and not metrics):
        raise ConfigError(f"{folder}/status.json is damaged; resume the run, which writes it anew, then sum it up")
    if status["status"] != "complete":
        raise ConfigError(f"{folder} is {status['status']} at step {status.get('step', 0)}; resume it, then sum it up")
    for fault in faults_of(folder):
        print(plain(fault), file=sys.stderr)
    times = [line.get("time", {}).get("seconds") for line in lines_of(folder) if line["kind"] == "train"]
    return {
        "folder": str(folder),
        "options": _options(record["config"]),
        "command": _command([str(word) for word in record["command"]]),
        "point": "",
        "metrics": metrics,
        "seconds": sum(filter(is_number, times)),
        "device": _device(record["devices"]),
        "jax": str(record["versions"].get("jax", "")),
        "commit": commit[:7] + "+" * commit.endswith("+") or "unknown",
    }


def summed_up(runs: list[Mapping]) -> dict[str, list[str]]:
    """The cells of each row by its command; seeds of one config stand together."""
    groups = {}
    for run in runs:
        group = groups.setdefault(f"`{run['command']}` {run['point']}".strip(), [])
        _refuse_others(group, run)
        group.append(run)
    rows = {}
    for name, group in groups.items():
        names = [name for name in group[0]["metrics"] if name not in ("loss", "raw_loss")] or ["loss"]
        values = "; ".join(f"{name} {_spread(name, [run['metrics'].get(name) for run in group])}" for name in names)
        seconds = statistics.median(run["seconds"] for run in group)
        time = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
        one = {name: ", ".join(dict.fromkeys(run[name] for run in group)) for name in ("device", "jax", "commit")}
        rows[name] = [values, str(len(group)), time, one["device"], one["jax"], one["commit"]]
    return rows


def as_text(rows: Mapping[str, list[str]]) -> str:
    """The whole file: what made it, and the table."""
    table = [HEADER, ["---"] * len(HEADER), *([command, *cells] for command, cells in sorted(rows.items()))]
    lines = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
    made = "Made by `cnnjax results` from the files of the runs: mean ± standard deviation over n seeds."
    notes = "A commit with + had changes of its own. The time of a sweep's point is that of its pack."
    return f"# Results\n\n{made}\n{notes}\n\n{lines}\n"


def draw(rows: Mapping[str, list[str]], path: str) -> None:
    """Draws the points of each sweep with their spread, the best on top, to a picture."""
    panels = _panels(rows)
    if not panels:
        raise ConfigError("--picture has nothing to draw: no row of the file is a point of a sweep")
    columns = min(3, len(panels))
    height = 0.9 + 0.24 * max(map(len, panels.values()))
    size = (6.2 * columns, height * math.ceil(len(panels) / columns))
    figure = Figure(figsize=size, dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    every = list(figure.subplots(math.ceil(len(panels) / columns), columns, squeeze=False).flat)
    for axes, ((name, metric), points) in zip(every, panels.items(), strict=False):
        points = sorted(points, key=lambda point: point[1])
        dressed(axes, name)
        places = range(len(points))
        axes.errorbar(
            [mean for _, mean, _ in points], places, xerr=[spread for *_, spread in points],
            linestyle="none", marker="o", markersize=5, capsize=3, color=INK,
        )  # fmt: skip
        axes.set_yticks(places, [textwrap.fill(label, 44) for label, *_ in points], fontsize=8)
        axes.set_ylim(-0.7, len(points) - 0.3)
        axes.set_xlabel(f"test {metric}: mean ± deviation over seeds", fontsize=8, color=INK)
    for axes in every[len(panels) :]:
        axes.set_visible(False)
    try:
        literal(figure).savefig(path)
    except (OSError, ValueError) as error:  # no such directory, no such kind of picture
        raise ConfigError(f"--picture={path} can't be written: {error}") from error
    print(f"{len(panels)} sweep{'s' * (len(panels) > 1)} drawn in {path}")


def _panels(rows: Mapping[str, list[str]]) -> dict[tuple[str, str], list[tuple[str, float, float]]]:
    """(label, mean, spread) of the points of each sweep, by its config's name and what else its command changes."""
    panels = {}
    for command, (metrics, *_) in sorted(rows.items()):
        found = re.match(r"`experiments\.sweep ([^`]*)`\s*(.*)", command)
        value = re.match(r"(\w+) (-?[\d.]+(?:e[+-]?\d+)?)(?: ± ([\d.]+))?( %)?", metrics)
        name = _named(found[1]) if found else ""
        if name and value:
            point = (found[2] or "all seeds", float(value[2]), float(value[3] or 0))
            panels.setdefault((name, value[1] + (", %" if value[4] else "")), []).append(point)
    return panels


def _named(words: str) -> str:
    """A sweep by its config, whatever stands before and behind it: `curve_depth:full, epochs 1`; "" without one."""
    config, changes = "", []
    given = shlex.split(words)
    for word, following in zip(given, [*given[1:], ""], strict=True):
        flag, sign, value = word.partition("=")
        value = value if sign else following
        if flag == "--config":
            path, _, variant = value.partition(".py")
            config = Path(path).name + variant
        elif flag.startswith("--config."):
            changes.append(f"{_word(flag.removeprefix('--config.'))} {value}")
    return ", ".join([config, *changes]) if config else ""


def _kept(path: Path) -> dict[str, list[str]]:
    """The rows that the file has already."""
    try:
        return _rows(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--output={path} can't be read: {error}") from error


def _rows(text: str) -> dict[str, list[str]]:
    """The rows of a file that this program wrote."""
    lines = [line.removeprefix("| ").removesuffix(" |") for line in text.splitlines() if line.startswith("| `")]
    return {command: rest for command, *rest in (line.split(" | ") for line in lines)}


def _folders(patterns: list[str]) -> list[Path]:
    if not patterns:
        raise ConfigError("--runs is missing; give the workdirs of finished runs, --runs=runs/a,runs/b")
    found = [Path(name) for pattern in patterns for name in sorted(glob.glob(pattern)) or [pattern]]
    missing = [str(folder) for folder in found if not folder.is_dir()]
    if missing:
        raise ConfigError(f"{missing[0]} is no directory; --runs takes workdirs or patterns of them")
    return found


def _refuse_others(group: list[dict], run: Mapping) -> None:
    """Raises where a run has another value of an option than the first; options that one version lacks say nothing."""
    for other in group[:1]:
        mine, theirs = run["options"], other["options"]
        for path in sorted(mine.keys() & theirs.keys()):
            if mine[path] != theirs[path] and not path.startswith(_SILENT):
                raise ConfigError(
                    f"{other['folder']} and {run['folder']} have one command and other configs: {path} is "
                    f"{theirs[path]!r} and {mine[path]!r}; sum one of them up"
                )


def _options(config: Mapping, path: str = "") -> dict:
    """The values of a config by their paths, but for the seeds."""
    if not isinstance(config, Mapping):
        return {} if path in summaries.SEEDS else {path: config}
    return {key: value for name in config for key, value in _options(config[name], f"{path}.{name}".strip(".")).items()}


def _command(arguments: list[str]) -> str:
    """What one types in a checkout, without the seed, where the files go and what is told: one row, however started.

    Of a path that is this machine's own, the last name is left.
    """
    program = f"experiments.{process.program_of(next(iter(arguments), ''))}"
    left = [
        word
        for word in arguments[1:]
        if not word.startswith(("--workdir", *(f"--config.{s}=" for s in summaries.SEEDS), *_QUIET))
    ]
    left = [_OWN.sub("…/", word) for word in left]
    return _SHIPPED.sub(r"--config=configs/\1.py\2", " ".join([program, *left]))


def _word(path: str) -> str:
    """An option as it is called in a row: by its last word, an entry's name by its section."""
    return path.removesuffix(".name").rpartition(".")[2]


def _device(devices: Mapping[str, int]) -> str:
    """Kind and number of devices, and the cores behind a CPU."""
    words = [f"{count} × {name.partition(':')[2] or name}" for name, count in devices.items()]
    return f"{os.cpu_count()} cores" if all(name.startswith("cpu") for name in devices) else ", ".join(words)


def _spread(name: str, values: list[float]) -> str:
    """Mean ± standard deviation, in percent where the numbers are shares."""
    (row,) = summaries.summed_up([({}, {name: value}) for value in values], [name]).rows
    spread = row.metrics.get(name)
    return "nan" if spread is None else f"{spread} %" if spread.share else str(spread)
