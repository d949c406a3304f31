"""Pictures of the examples that a network finds hardest: one of all, and one of each with truth and prediction."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cnnjax.fields import INPUTS
from cnnjax.programs import _figures
from cnnjax.refusals import ConfigError
from cnnjax.train.trained import Trained

_SHEET = 48  # examples of the picture of all
_AS_NUMBERS = ("truth", "prediction")


def vet(out: str) -> Path:
    """The folder, made where there is none; one that can't be made is refused."""
    folder = Path(out)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        hint = "it must be a folder, in one that there is"
        raise ConfigError(f"--out is {out!r}, which can't be made: {error.strerror}; {hint}") from None
    return folder


def draw(trained: Trained, split: str, said: list[dict], folder: Path) -> int:
    """Draws the examples of these entries, in their order, to `worst.png` and a file each; how many comes out."""
    facts, part = trained.facts, getattr(trained.source, split)
    given = part.read(np.array([entry["index"] for entry in said]))
    predicted = trained.predict(given[facts.input], batch=64)
    rows = [{name: np.asarray(value)[k] for name, value in given.items()} for k in range(len(said))]
    shown = rows[:_SHEET]
    titles = [heading(entry, short=True) for entry in said]
    figure = _figures.sheet(shown, facts, f"{split}: the examples of greatest loss", titles=titles[: len(shown)])
    _figures.save(figure, folder / "worst.png", dpi=150)
    for rank, (entry, words) in enumerate(zip(said, rows, strict=True), 1):
        answer = {name: value[rank - 1] for name, value in predicted.items()}
        placed = {name: value for name, value in answer.items() if name in placed_words(answer)}
        name = re.sub(r"[^\w.-]+", "_", Path(entry["path"]).stem)
        figure = _figures.compared(words, placed, facts, f"{entry['path']}\n{heading(entry)}")
        _figures.save(figure, folder / f"{rank:03}-{name}.png")
    return len(said)


def placed_words(answer: Mapping) -> set[str]:
    """The words that are drawn; what a class is stands in the heading."""
    return set(answer) - {"label", "probabilities", *INPUTS[1:]}


def heading(entry: Mapping, *, short: bool = False) -> str:
    """What is said of an example, in a line: what it is, what it was taken for, its loss."""
    parts = []
    if isinstance(entry.get("truth"), str):
        sure = f" {entry['probability']:.0%}" if entry.get("probability") is not None else ""
        parts.append(f"{entry['truth']} → {entry['prediction']}{sure}" if short else _told(entry))
    parts += [f"{name} {entry[name]:.1%}" for name in ("right", "miou") if name in entry][: 1 if short else 2]
    if "things" in entry:
        more = f", {entry['false']} false" if entry["false"] else ""
        parts.append(f"{entry['found']} of {entry['things']} found{more}")
    if entry.get("off") is not None:
        parts.append(f"{entry['off']:.1f} pixels off")
    loss = "not a number" if entry["loss"] is None else f"{entry['loss']:.3g}"
    return " · ".join([*parts, f"loss {loss}"])


def _told(entry):
    sure = [f"{entry['probability']:.0%}"] if entry.get("probability") is not None else []
    if entry["truth"] == entry["prediction"]:
        return " ".join([f"{entry['truth']}, rightly", *(f"({word})" for word in sure)])
    if entry.get("truth_probability") is not None:
        sure.append(f"{entry['truth']} had {entry['truth_probability']:.1%}")
    return f"{entry['truth']} taken for {entry['prediction']}" + (f" ({', '.join(sure)})" if sure else "")
