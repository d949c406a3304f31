"""The page of a run that is done: report.html in its workdir, which needs no server, no network and no run."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from cnnjax import config as sections
from cnnjax.analysis import cost
from cnnjax.archives import arrays_in
from cnnjax.data.source import labels_of
from cnnjax.programs import _mistakes, _page_parts, _sheets
from cnnjax.programs._drawing import name_of
from cnnjax.programs._look import held_out
from cnnjax.runs.curves import curves_figure
from cnnjax.runs.json_files import read_status
from cnnjax.runs.lines import COUNTS, lines_of, series_of
from cnnjax.runs.pages import Code, Links, Part, Picture, Rows, write_page
from cnnjax.runs.pictures import tables_figure
from cnnjax.runs.provenance import recorded
from cnnjax.runs.tables import readable
from cnnjax.train.examples import examining
from cnnjax.train.trained import Trained

NAME = "report.html"
_LOOKED_AT = 1000  # examples that are asked one by one, of a split and of what is held out
_SHARES = 2**24  # probabilities that are kept of them
_SEEN = 24  # examples of the first batch
_MORE = 12  # further metrics whose curves are drawn
_CLASSES, _FOLDED = 400, 40  # rows of a table: those that it has, those at which it is folded


def write(trained: Trained) -> None:
    """Writes the page of a run; what one process of several can't ask of the net alone is left out."""
    if jax.process_index():
        return
    pages = [_results, *([_examined, _data] if jax.process_count() == 1 else []), _net, _origin]
    status = read_status(trained.workdir)
    parts = [part for made in pages for part in made(trained)]
    measured = ", ".join(f"{split} {_headline(status, numbers)}" for split, numbers in _splits(trained).items())
    task, model = trained.config["task"]["name"], trained.config["model"]["name"]
    step, steps = int(trained.state.step), trained.prepared.plan.steps
    lead = f"{model} for {task} on {trained.config['data']['name']}: {measured}\nstep {step:,} of {steps:,}"
    write_page(trained.workdir / NAME, trained.workdir.resolve().name, lead, parts)


def _splits(trained: Trained) -> dict[str, dict]:
    """The last numbers of each split that has any."""
    return {split: dict(numbers) for split, numbers in trained.metrics.items() if numbers}


def _headline(status: dict, numbers: dict) -> str:
    names = [name for name in dict.fromkeys((status.get("metric", ""), "loss")) if name in numbers]
    return " ".join(f"{name} {readable(numbers[name])}" for name in names)


def _measured(trained: Trained) -> str:
    """The split that the run was measured on in the end."""
    return "test" if trained.config["eval"]["test"] or not trained.prepared.selects else "eval"


def _results(trained: Trained) -> Iterator[Part]:
    """Curves, and the last numbers of every split."""
    lines, splits = lines_of(trained.workdir), _splits(trained)
    metric = trained.task.metric
    blocks = [Picture(curves_figure(lines, metric=metric), f"loss and {metric} over the steps", wide=True)]
    measured = {name for split, row in splits.items() if split != "train" for name in row}
    names = [name for name in dict.fromkeys(name for row in splits.values() for name in row) if name in measured]
    cells = [[split, *(readable(row[name]) if name in row else "" for name in names)] for split, row in splits.items()]
    if len(names) > 8:  # a line for each number: a phone has no room for them all beside each other
        cells = [list(row) for row in zip(names, *(row[1:] for row in cells), strict=True)]
        blocks.append(Rows(["", *splits], cells, 1, "the last numbers", len(cells) <= _FOLDED))
    elif names:
        blocks.append(Rows(["", *names], cells))
    drawn = [name for name in names if name not in ("loss", metric, *COUNTS) and series_of(lines, name)]
    tables = _tables(trained)
    more = {name: table for name, table in tables.items() if name not in ("confusion", "calibration")}
    if (figure := tables_figure(more, names=_names(trained), lines=_lines(trained, splits), wide=5.0)).axes:
        blocks.append(Picture(figure, f"of the {_measured(trained)} split: {', '.join(more)}", wide=len(more) > 1))
    if drawn:
        blocks.append(f"Other curves are in metrics.jsonl: {', '.join(drawn[:_MORE])}{', …' * (len(drawn) > _MORE)}")
    yield Part("results", blocks)


def _tables(trained: Trained) -> dict[str, np.ndarray]:
    """The arrays that the last evaluation has left."""
    path = trained.workdir / f"tables-{_measured(trained)}.npz"
    return arrays_in(path) if path.exists() else {}


def _names(trained: Trained) -> tuple:
    facts = trained.facts
    return tuple(facts.names or facts.extra.get("segment_names", ()))


def _lines(trained: Trained, splits: dict[str, dict]) -> dict[str, tuple]:
    """What the rows of tables are called that are no classes: points, and a forecast with those it is compared with."""
    references = sorted({name[4:] for row in splits.values() for name in row if name.startswith("mae_")})
    forecasts = ("net", *(name.replace("_", " ") for name in references))
    return {"pck": tuple(trained.facts.extra.get("point_names", ())), "mae_by_step": forecasts}


def _examined(trained: Trained) -> Iterator[Part]:
    """Classes, confidences, and the examples at both ends, as far as the task has them."""
    split, counts = _measured(trained), _tables(trained).get("confusion")
    few = _LOOKED_AT * max(trained.facts.classes, 1) <= _SHARES
    ask = examining(trained, distributions=few)
    found = ask(split, _LOOKED_AT)
    if counts is not None:
        yield _page_parts.classes(counts, _mistakes.names_of(found, trained.facts), places="right" in found.rows)
    if "probabilities" in found.rows:
        yield _page_parts.believed(
            found.rows["probabilities"], found.rows["truth"], held_out(trained, split, ask, _LOOKED_AT)
        )[0]
    yield _page_parts.drawn_from_noise(trained, split, found) or _page_parts.extremes(trained, split, found)


def _data(trained: Trained) -> Iterator[Part]:
    """How many examples there are of what, and the first batch as the net was shown it."""
    facts, source = trained.facts, trained.source
    words = ", ".join(f"{word} {'×'.join(map(str, shape)) or 'number'} {np.dtype(dtype).name}"
                      for word, (shape, dtype) in facts.fields.items())  # fmt: skip
    mean, std = (", ".join(f"{number:.4g}" for number in numbers) for numbers in (facts.mean, facts.std))
    counts = ", ".join(f"{count:,} {split}" for split, count in facts.counts.items())
    same = " (eval is the test set: nothing is held out)" if source.eval is source.test else ""
    blocks = [f"{counts}{same}\n{words}" + (f"\nmean {mean}, deviation {std}" if mean else "")]
    bad = {name for part in (source.train, source.eval, source.test) for name in getattr(part, "bad", {})}
    blocks += [f"passed over, for they can't be used: {len(bad):,} records"] if bad else []
    figure, count = _sheets.seen_figure(trained.prepared, "train", 0, _SEEN)
    blocks.append(Picture(figure, f"{count} examples of the first batch, as the net was shown them", wide=True))
    columns = {name: labels_of(getattr(source, name)) for name in ("train", "eval", "test")}
    columns = {name: np.bincount(labels, minlength=facts.classes) for name, labels in columns.items() if len(labels)}
    if columns and facts.classes:
        order = np.argsort(-next(iter(columns.values())), kind="stable")[:_CLASSES]
        cells = [[name_of(int(k), facts.names), *(f"{count[k]:,}" for count in columns.values())] for k in order]
        blocks.append(Rows(["class", *columns], cells, 1, "examples of each class", len(cells) <= _FOLDED // 2))
    yield Part("data", blocks)


def _net(trained: Trained) -> Iterator[Part]:
    """The net, layer by layer."""
    program = trained.prepared.program
    try:
        reads = "int32" if program.seen.input == "tokens" else "float32"
        costs = cost(trained.net, (1, *program.seen.shape), dtype=reads)
    except Exception as error:  # a net that can't be counted by its input alone: one of two parts
        size = sum(leaf.size for leaf in jax.tree.leaves(trained.variables["params"]))
        yield Part("net", [f"{size:,} parameters; its layers can't be counted one by one ({type(error).__name__})"])
        return
    cells = [
        [layer.path, layer.kind, "×".join(map(str, layer.shape)), f"{layer.parameters:,}", f"{layer.macs:,}"]
        for layer in costs.layers
    ]
    head = ["layer", "kind", "output", "parameters", "MACs"]
    words = f"{costs.parameters:,} parameters, {costs.macs:,} multiply-accumulates for one example"
    yield Part("net", [words, Rows(head, cells, 3, f"{len(cells)} layers", len(cells) <= _FOLDED // 2)])


def _origin(trained: Trained) -> Iterator[Part]:
    """What made the run, and the files it has left."""
    story = recorded(trained.workdir)
    command = story.get("command", [])
    told = {
        "command": command if isinstance(command, str) else " ".join(map(str, command)),
        "commit": story.get("commit", ""),
        "cnnjax": story.get("cnnjax", ""),
        **{name: str(version) for name, version in story.get("versions", {}).items()},
        "devices": ", ".join(f"{count} × {name}" for name, count in dict(story.get("devices", {})).items()),
    }
    cells = [[name, value] for name, value in told.items() if value]
    blocks = [Rows(["", ""], cells, 2, "command, commit, versions, devices", True, long=("",))]
    blocks.append(Code(sections.to_json(trained.config), "config"))
    blocks.append(Links(_files(trained.workdir)))
    yield Part("origin", blocks)


def _files(workdir: Path) -> list[tuple[str, str]]:
    """The files beside the page that one would open, as names and paths."""
    named = ["config.json", "facts.json", "status.json", "metrics.jsonl", "curves.png", "analysis/report.html"]
    named += sorted(f"{path.parent.name}/report.html" for path in workdir.glob("against-*/report.html"))
    named += sorted(path.name for path in workdir.glob("tables-*.*"))
    return [(name, name) for name in named if (workdir / name).exists()]
