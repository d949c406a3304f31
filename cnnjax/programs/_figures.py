"""Figures: a grid of small panels, and one example at a size at which all can be read."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnnjax.fields import Facts, kind
from cnnjax.programs._drawing import DRAWERS, draw, drawn, explained, line_height, shown_frames, text_lines, title
from cnnjax.refusals import ConfigError
from cnnjax.runs.curves import literal

ENDINGS = (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp")
_LEAST, _MOST = 420, 1000  # pixels of the longer side of a picture that stands alone
_LINE = 0.16  # inches of a line of text
_LETTER = 0.066  # inches, about


def vet(out: str) -> None:
    """Refuses a file that no figure could be written to."""
    path = Path(out)
    if path.suffix.lower() not in ENDINGS:
        raise ConfigError(f"--out is {out!r}; it must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    if path.is_dir():
        raise ConfigError(f"--out is {out!r}, a folder; give the file to write")
    if not path.parent.is_dir():
        raise ConfigError(f"--out is {out!r}; there is no folder {path.parent}")
    try:
        with open(path, "ab"):
            pass
        if not path.stat().st_size:
            path.unlink()
    except OSError as error:
        raise ConfigError(f"--out is {out!r}, which can't be written: {error.strerror}") from None


def sheet(examples: list[Mapping], facts: Facts, heading: str, titles: tuple | list = ()) -> Figure:
    """Examples beside each other, each with its class or its title, one legend of all that is drawn in them."""
    panel = _panel(facts, examples)
    names = titles or [title(words, facts) for words in examples]
    names = ["\n".join(_wrapped(name, panel[0] / 0.048, 2)) for name in names]
    lines = max((name.count("\n") + 1 for name in names if name), default=0)
    legend, figure, panels = {}, *grid(len(examples), heading, panel=panel, titles=lines)
    for panel, words, name in zip(panels, examples, names, strict=True):
        legend |= draw(panel, words, facts)
        panel.set_title(name, fontsize=6, pad=2)
    if legend:
        _explain(figure, legend)
    return figure


def _panel(facts: Facts, examples) -> tuple[float, float]:
    """(width, height) in inches of a small panel for such inputs."""
    if facts.input == "tokens":
        lines = max(len(text_lines(words["tokens"], facts, 2.6, 6)) for words in examples)
        return 2.6, line_height(6) * min(max(lines, 1), 10)
    if facts.input == "series":
        return 2.6, 1.1
    frames = len(shown_frames(facts.shape[0])) if facts.input == "video" else 1
    height, width = facts.shape[-3:-1]
    width = frames * width + (frames - 1) * max(width // 16, 1)
    side = 1.3 * frames**0.7
    return (side, side * height / width) if width >= height else (side * width / height, side)


def grid(count: int, heading: str, *, panel=(1.3, 1.3), titles: int = 1) -> tuple[Figure, list]:
    """A figure with `count` bare panels, `titles` lines above each."""
    wide, tall = panel[0] + 0.08, panel[1] + 0.08 + 0.11 * titles
    columns = min(count, max(1, int(np.ceil(np.sqrt(count * 1.6 * tall / wide)))))
    rows = -(-count // columns)
    width = max(columns * wide, 1.3) + 0.08
    above = _wrapped(heading, (width - 0.1) / _LETTER, 6)
    top = 0.17 * len(above) + 0.06
    figure = Figure(figsize=(width, rows * tall + top + 0.04))
    FigureCanvasAgg(figure)
    figure.text(0.5, 1 - 0.05 / figure.get_figheight(), "\n".join(above), fontsize=8, ha="center", va="top")
    height, panels = figure.get_figheight(), []
    for number in range(count):
        row, column = divmod(number, columns)
        x, y = 0.08 + column * wide, height - top - (row + 1) * tall + 0.08
        panels.append(figure.add_axes([x / width, y / height, panel[0] / width, panel[1] / height]))
        panels[-1].axis("off")
    return figure, panels


def _wrapped(text: str, letters: float, most: int) -> list[str]:
    lines = textwrap.wrap(text, max(int(letters), 6))
    return lines if len(lines) <= most else [*lines[: most - 1], f"{lines[most - 1][: max(int(letters), 6) - 1]}…"]


def _explain(figure: Figure, legend: dict) -> None:
    """A legend below all panels, in as many lines as it takes."""
    width, height = figure.get_size_inches()
    letters = min(max(len(name) for name in legend), max(int((width - 0.5) / _LETTER), 4))
    column = letters * _LETTER + 0.4
    columns = max(1, min(len(legend), int(width / column)))
    room = _LINE * -(-len(legend) // columns) + 0.12
    places = [axes.get_position(original=True).bounds for axes in figure.axes]
    figure.set_size_inches(width, height + room)
    for axes, (x, y, w, h) in zip(figure.axes, places, strict=True):
        axes.set_position([x, (y * height + room) / (height + room), w, h * height / (height + room)])
    for text in figure.texts:
        text.set_y(1 - 0.05 / (height + room))
    style = {"fontsize": 7, "frameon": False, "handlelength": 1.0, "handleheight": 0.9, "columnspacing": 1.0}
    figure.legend(handles=explained(legend, letters), loc="lower center", ncols=columns, **style)


def drawable(predicted: Mapping, facts: Facts) -> bool:
    """Whether anything of these words can be drawn, or said above the picture."""
    return any(drawn(word, value) in (*DRAWERS, "title") for word, value in predicted.items())


def single(words: Mapping, predicted: Mapping, facts: Facts, heading: str, size: tuple = ()) -> Figure:
    """One example with what was predicted of it, `heading` above, a legend beside, a picture that was made last.

    `size` is the (height, width) in whose pixels the predicted places are.
    """
    made = predicted.get("image")
    panels = [(words, predicted), *([({"image": made}, {})] if made is not None else [])]
    return _standing(panels, facts, heading, size)


def compared(words: Mapping, predicted: Mapping, facts: Facts, heading: str) -> Figure:
    """One example, `heading` above, a legend beside: as it is labelled, and beside it what was predicted of its places.

    What can be told apart in one panel (a forecast behind a curve, a picture that was made) is drawn as by `single`.
    """
    over = {"per place", "row per place", "places per row", "boxes", "corners", "points"}
    placed = {kind(word, np.ndim(value)) for word, value in predicted.items()} & over
    if facts.input not in ("image", "video") or not placed:
        return single(words, predicted, facts, heading)
    bare = {facts.input: words[facts.input]}
    return _standing([(words, {}), (bare, predicted)], facts, heading, (), titles=("truth", "predicted"))


def _standing(panels: list[tuple], facts: Facts, heading: str, size: tuple, titles: tuple = ()) -> Figure:
    """Panels of (words, predicted) side by side; those behind the first that have no title are bare pictures."""
    words = panels[0][0]
    boxes = [_inches(facts, words, size if size else np.shape(words.get("image", ()))[:2])]
    boxes += [boxes[0] if titles else _scaled(*np.shape(other["image"])[:2]) for other, _ in panels[1:]]
    legend = {}
    for each, predicted in panels:
        legend |= _trial(each, predicted, facts, size)
    letters = min(max((len(name) for name in legend), default=0), 40)
    aside = letters * 1.15 * _LETTER + 0.45 if legend else 0.0
    inner = sum(box[0] for box in boxes) + 0.15 * (len(boxes) - 1)
    margins = (0.12, 0.12) if facts.input != "series" else (0.5, 0.35)
    width = max(margins[0] + inner + aside + 0.12, 3.0)
    lines = [line for part in heading.split("\n") for line in _wrapped(part, (width - 0.2) / 0.078, 4)]
    top = 0.17 * len(lines) + 0.14 + 0.2 * bool(titles)
    body = max(max(box[1] for box in boxes), _LINE * len(legend) + 0.1)
    figure = Figure(figsize=(width, top + body + margins[1]), dpi=100)
    FigureCanvasAgg(figure)
    height, x = figure.get_figheight(), margins[0]
    figure.text(0.1 / width, 1 - 0.06 / height, "\n".join(lines), fontsize=9, va="top")
    for number, ((wide, tall), (each, predicted)) in enumerate(zip(boxes, panels, strict=True)):
        axes = figure.add_axes([x / width, (height - top - tall) / height, wide / width, tall / height])
        if number == 0 or titles:
            _bare(axes, facts)
            draw(axes, each, facts, predicted=predicted, size=size, detail=True)
        else:
            axes.axis("off")
            draw(axes, each, facts)
        if titles:
            axes.set_title(titles[number], fontsize=8, pad=3, loc="left")
        x += wide + 0.15
    if legend:
        style = {"fontsize": 8, "frameon": False, "handlelength": 1.0, "handleheight": 1.0, "borderaxespad": 0.0}
        anchor = ((x - 0.07) / width, (height - top) / height)
        figure.legend(handles=explained(legend, letters), loc="upper left", bbox_to_anchor=anchor, **style)
    return figure


def _trial(words, predicted, facts, size):
    """What the legend will explain, found by drawing aside: the room for it must be known before."""
    axes = Figure(figsize=(4, 4)).add_axes((0, 0, 1, 1))
    return draw(axes, words, facts, predicted=predicted, size=size, detail=True)


def _bare(axes, facts):
    if facts.input == "series":
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("step", fontsize=7, labelpad=1)
        axes.margins(x=0.01)
    else:
        axes.axis("off")


def _inches(facts, words, size):
    """(width, height) of the panel of one example that stands alone."""
    if facts.input == "series":
        return 8.0, 2.6
    if facts.input == "tokens":
        return 8.0, line_height(9) * min(max(len(text_lines(words["tokens"], facts, 8.0, 9)), 1), 30)
    if facts.input == "video":
        frames, (height, width) = len(shown_frames(len(words["video"]))), np.shape(words["video"])[1:3]
        return _scaled(height, frames * width + (frames - 1) * max(width // 16, 1), 800)
    return _scaled(*size)


def _scaled(height, width, least=_LEAST):
    """(width, height) in inches at which a picture is neither tiny nor too large."""
    scale = np.clip(max(height, width), least, _MOST) / max(height, width) / 100
    return width * scale, height * scale


def shown_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) to which a picture is shrunk to be drawn alone."""
    scale = min(1.0, _MOST / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


def save(figure: Figure, path, *, dpi: int = 100) -> None:
    """Writes a figure to a file, over an older one only when it is whole."""
    target = Path(path)
    partial = target.with_name(f".{target.stem}.partial{target.suffix}")
    try:
        literal(figure).savefig(partial, dpi=dpi)
        partial.replace(target)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
