"""Parts of pages on what a net says of a split: classes, confidences, the easiest and the hardest examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cnnjax.analysis import (
    Reliability,
    confusion_sets,
    draw_pictures,
    per_class,
    reliability,
    similarity_order,
    temperature,
    tempered,
)
from cnnjax.fields import Facts
from cnnjax.programs import _figures, _mistakes, _worst
from cnnjax.programs._drawing import name_of
from cnnjax.runs.pages import Part, Picture, Rows
from cnnjax.runs.pictures import tables_figure
from cnnjax.runs.tables import readable
from cnnjax.train.examples import Examined
from cnnjax.train.trained import Trained

_ROWS, _UNFOLDED = 400, 30  # of a table: those that it has, those at which it is unfolded
_MATRIX = 200  # classes that a matrix can still show
_MADE = 64  # pictures that are drawn from noise
_BROAD = 9.0  # inches of a figure that has the page's width to itself
_EXAMPLES, _LARGE = 18, 4  # the best and the worst: as small pictures, or each with what was predicted of its places


def classes(counts: np.ndarray, names: Sequence[str], *, places: bool) -> Part:
    """What becomes of every class by counts (K, K) of truth and guess, of examples or of `places`."""
    sets, numbers = confusion_sets(counts), per_class(counts)
    blocks = []
    if len(counts) <= _MATRIX:
        order = similarity_order(counts)
        shown = {"confusion": counts[np.ix_(order, order)]}
        figure = tables_figure(shown, names=[name_of(int(k), names) for k in order], wide=6.4)
        blocks.append(
            Picture(figure, "of each truth, the share of each guess; classes taken for each other side by side")
        )
    taken = [
        (name_of(k, names), ", ".join(f"{name_of(j, names)} ×{count:,}" for j, count in found))
        for k, found in enumerate(sets)
    ]
    cells = [[name, others] for name, others in taken if others][:_ROWS]
    what = (
        "for each class what it is taken for, until 95 % of its mistakes are explained: 7 at most, seen twice or more"
    )
    few = len(cells) <= _UNFOLDED
    blocks.append(Rows(["class", "taken for"], cells, 2, what, few, long=("taken for",)) if cells else _ALL_RIGHT)
    columns = [name for name in numbers if places or name != "iou"]
    order = np.argsort(np.nan_to_num(numbers["f1"], nan=2.0), kind="stable")[:_ROWS]
    cells = [[name_of(int(k), names), *(_told(numbers[name][k]) for name in columns)] for k in order]
    blocks.append(Rows(["class", *columns], cells, 1, "every class, the worst first", len(cells) <= _UNFOLDED))
    return Part("classes", blocks)


_ALL_RIGHT = "No class is taken for another twice."


def _told(value) -> str:
    return "–" if isinstance(value, float) and np.isnan(value) else readable(value)


def believed(shares: np.ndarray, labels: np.ndarray, held_out: tuple | str) -> tuple[Part, dict]:
    """How far the confidences of probabilities (N, K) can be believed, before and after a temperature; as numbers too.

    The temperature is fitted on `held_out`, probabilities and labels of other examples, or these words say why on none.
    """
    found = {"before": reliability(shares, labels)}
    fitted = {} if isinstance(held_out, str) else {"temperature": temperature(*held_out)}
    if fitted:
        found["after"] = reliability(tempered(shares, fitted["temperature"]), labels)
    titles = {when: f"calibration, {when} temperature" if fitted else "calibration" for when in found}
    drawn = tables_figure({titles[when]: each.bins for when, each in found.items()}, wide=5.0)
    head = ["", "ECE", "90 % of draws", "worst gap", "adaptive", "classwise", "Brier", "NLL", "confidence", "accuracy"]
    words = held_out
    if fitted:
        count = f"{len(held_out[1]):,} held-out examples"
        words = f"Temperature {fitted['temperature']:.3f}, fitted on {count}, none of which is measured here."
    what = "of the guesses of a confidence, how many were right; up to the dotted line a confidence is what it says"
    blocks = [
        words,
        Picture(drawn, what, wide="after" in found),
        Rows(head, [_scores(f"{when} temperature" if fitted else "", each) for when, each in found.items()]),
    ]
    numbers = {when: _numbers(each) for when, each in found.items()}
    return Part("calibration", blocks), fitted | numbers


def _scores(when: str, found: Reliability) -> list[str]:
    band = f"{found.band[0]:.4f} – {found.band[1]:.4f}"
    more = (found.greatest, found.adaptive, found.classwise, found.brier, found.nll, found.confidence, found.accuracy)
    return [when, readable(found.error), band, *map(readable, more)]


def _numbers(found: Reliability) -> dict:
    numbers = dict(vars(found))
    return numbers | {"bins": found.bins.tolist(), "band": list(found.band)}


def drawn_from_noise(trained: Trained, split: str, found: Examined) -> Part | None:
    """Pictures that were made, beside as many of the data, where what is made is not of what was read: else nothing."""
    if set(found.rows) - {"index", "loss", "weight"}:  # more is known of each example than of a picture of noise
        return None
    part, word = getattr(trained.source, split), trained.facts.input
    rows = np.arange(min(_MADE, len(part)))
    read = part.read(rows)[word]
    made = trained.predict(read, batch=_MADE).get("image")
    if made is None or not np.array_equal(made, trained.predict(np.zeros_like(read), batch=_MADE)["image"]):
        return None
    real = read / 255 if read.dtype == np.uint8 else read
    pictures = [
        Picture(draw_pictures(made), f"{len(made)} pictures made from noise, not chosen"),
        Picture(draw_pictures(real), f"as many of the {split} split"),
    ]
    return Part("samples", pictures)


def extremes(trained: Trained, split: str, found: Examined) -> Part:
    """The examples of least and of greatest loss, drawn with what was said of them."""
    part, facts, blocks = getattr(trained.source, split), trained.facts, []
    for what, rows in (("least", found.best(_EXAMPLES)), ("greatest", found.worst(_EXAMPLES))):
        said = _mistakes.entries(found, facts, part, rows)
        fields = part.read(np.array([entry["index"] for entry in said]))
        examples = [{name: np.asarray(value)[k] for name, value in fields.items()} for k in range(len(said))]
        if getattr(found.rows.get("truth"), "ndim", 0) == 1:  # a class: one word above a small picture says it
            titles = [_worst.heading(entry, short=True) for entry in said]
            sheet = _figures.sheet(examples, facts, f"{what} loss", titles)
            blocks.append(Picture(sheet, f"the examples of {what} loss", wide=facts.input == "tokens"))
            continue
        predicted = trained.predict(fields[facts.input], batch=_EXAMPLES)
        blocks += [
            _compared(facts, said[k], examples[k], {name: value[k] for name, value in predicted.items()}, what)
            for k in range(min(_LARGE, len(said)))
        ]
    return Part("the best and the worst", blocks)


def _compared(facts: Facts, entry: Mapping, words: Mapping, answer: Mapping, what: str) -> Picture:
    placed = {name: value for name, value in answer.items() if name in _worst.placed_words(answer)}
    figure = _figures.compared(words, placed, facts, f"{Path(entry['path']).name}\n{_worst.heading(entry)}")
    wide = figure.get_figwidth() > _BROAD  # beside another one, its words could not be read
    return Picture(figure, f"{what} loss: {entry['path']}", wide=wide)
