"""One example drawn on a panel: its input and its words, each by its kind."""

import itertools
import textwrap

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon
from matplotlib.patheffects import withStroke

from cnnjax.fields import IGNORE, INPUTS, KINDS, Facts, kind
from cnnjax.programs._hearing import draw_sound

_COLORS = (  # told apart by those who see few colours: Okabe and Ito's, then Tol's muted ones
    *("#D55E00", "#56B4E9", "#F0E442", "#009E73", "#CC79A7", "#0072B2", "#E69F00"),
    *("#332288", "#88CCEE", "#117733", "#DDCC77", "#CC6677", "#882255", "#44AA99", "#999933", "#AA4499"),
)
_NOTHING = "#303030"  # places of no class
_FRAMES = 6  # of a video
_BEFORE = 4  # times the steps of a forecast that are shown before it
_HEARD = 1000  # steps a second, from which on a series is sound
_CURVES = 8  # channels that are drawn as curves; more are drawn as a map


def color(number: int) -> tuple[float, float, float]:
    """The colour of a class, a row or a channel."""
    rgb, turn = np.array(to_rgb(_COLORS[number % len(_COLORS)])), number // len(_COLORS) % 3
    return tuple(rgb if not turn else 0.5 + rgb / 2 if turn == 1 else rgb * 0.6)


def name_of(number: int, names) -> str:
    """A class as one calls it."""
    return str(names[number]) if 0 <= number < len(names) else str(number)


def draw(panel, words: dict, facts: Facts, *, predicted=(), size: tuple = (), detail: bool = False) -> dict:
    """Draws an example's words, and those `predicted` of it, on a bare panel; returns what a legend must explain.

    `size` is the (height, width) in whose pixels the places are, where the picture itself was shrunk to be drawn;
    `detail` writes names beside boxes, for a panel that has the room.
    """
    frame = _Frame(panel, facts, tuple(size) or tuple(np.shape(words.get("image", np.zeros((1, 1)))))[:2], detail, {})
    for given, foretold in ((words, False), (dict(predicted), True)):
        for word in sorted(given, key=lambda word: word not in INPUTS):
            if word == "image" and foretold:
                continue  # has a panel of its own
            drawer = DRAWERS.get(drawn(word, given[word]))
            if drawer:
                drawer(frame, word, {**words, **given} if foretold else given, foretold)
    return frame.legend


def drawn(word: str, value) -> str:
    """How a word of an example is drawn."""
    return KINDS[kind(word, np.ndim(value))].drawn


class _Frame:
    """A panel on which one example is drawn, and the legend that comes of it."""

    def __init__(self, panel, facts, size, detail, legend):
        self.panel, self.facts, self.size, self.detail, self.legend = panel, facts, size, detail, legend
        self.taken, self.shown, self.steps, self.image = [], [], 0, np.zeros((1, 1, 3))

    @property
    def extent(self):
        return -0.5, self.size[1] - 0.5, self.size[0] - 0.5, -0.5

    def show(self, image):
        self.panel.imshow(image, extent=self.extent, interpolation="nearest")

    def explain(self, name, mark, number, rgb):
        self.legend[name] = mark, int(number), rgb


def _coloured(image):
    """(H, W, 3) that a panel shows, of a picture (H, W, C) of bytes or in [0, 1]."""
    image = np.asarray(image)
    image = np.clip(image.astype(float) / (255 if image.dtype == np.uint8 else 1), 0, 1)
    return np.repeat(image[..., :1], 3, -1) if image.shape[-1] < 3 else image[..., :3]


def _picture(frame, word, words, foretold):
    image = words[word]
    if np.ndim(image) == 3:
        frame.image = _coloured(image)
        frame.show(frame.image)
        return
    frames = shown_frames(len(image))  # a video as a strip
    height, width = np.shape(image)[1:3]
    gap = np.ones((height, max(width // 16, 1), 3))
    frame.size = height, len(frames) * width + (len(frames) - 1) * gap.shape[1]
    strip = [part for number in frames for part in (gap, _coloured(image[number]))][1:]
    frame.image = np.concatenate(strip, 1)
    frame.show(frame.image)


def shown_frames(count: int) -> np.ndarray:
    """The numbers of the frames of a video that are drawn."""
    return np.unique(np.linspace(0, count - 1, min(count, _FRAMES)).round().astype(int))


def _places(frame, word, words, foretold):
    """Classes of places as colours laid over the picture, or as a band below a curve."""
    names = frame.facts.extra.get("segment_names", ())
    classes = np.asarray(words[word])
    rest = "not seen" if foretold else "no class"  # IGNORE: what a crop left out, or what is to be ignored
    if classes.ndim == 1:
        _band(frame, classes, names, rest)
        return
    if classes.ndim == 3:  # of a video
        image = words["video"]
        gap = np.full((classes.shape[1], max(classes.shape[2] // 16, 1)), -1)
        strip = [part for number in shown_frames(len(image)) for part in (gap, classes[number])][1:]
        classes = np.concatenate(strip, 1)
    _overlay(frame, classes, names, rest)


def _overlay(frame, classes, names=(), rest="no class", colors=color):
    classes = _thinned(classes)
    layer = np.zeros((*classes.shape, 4))
    edges = _edges(classes)
    for number in np.unique(classes):
        here = classes == number
        if number < 0 or _clear(number, names):
            continue
        rgb = to_rgb(_NOTHING) if number == IGNORE else colors(number - bool(names and _clear(0, names)))
        layer[here] = (*rgb, 0.7 if number == IGNORE else 0.55 if frame.detail else 0.25)
        layer[here & edges] = (*rgb, 1.0 if number != IGNORE else 0.7)
        frame.explain(rest if number == IGNORE else name_of(number, names), "patch", number, rgb)
    if frame.detail:
        frame.show(_grey(frame.image, layer[..., 3] > 0))
    frame.show(layer)


def _grey(image, covered):
    """The picture without its colours where classes will lie: theirs must be those of the legend."""
    lines = [np.arange(n) * m // n for n, m in zip(image.shape[:2], covered.shape, strict=True)]
    grey = np.repeat(image @ [[0.3], [0.59], [0.11]], 3, -1)
    return np.concatenate([0.25 + 0.6 * grey, covered[lines[0][:, None], lines[1]][..., None]], -1)


def _clear(number, names):
    """Whether the picture shows through: where nothing in particular is."""
    return number == 0 and name_of(0, names) in ("0", "background")


def _edges(classes):
    """Whether a place has a neighbour of another class."""
    edges = np.zeros(classes.shape, bool)
    beside, below = classes[:, :-1] != classes[:, 1:], classes[:-1] != classes[1:]
    for part, other in ((edges[:, :-1], beside), (edges[:, 1:], beside), (edges[:-1], below), (edges[1:], below)):
        part |= other
    return edges


def _thinned(classes, most=1024):
    """As many of the places as can be seen."""
    step = -(-max(classes.shape[-2:]) // most)
    return classes[..., ::step, ::step]


def _band(frame, classes, names, rest):
    ends = [0, *(np.flatnonzero(np.diff(classes)) + 1), len(classes)]
    for start, end in itertools.pairwise(ends):
        number = int(classes[start])
        rgb = to_rgb(_NOTHING) if number == IGNORE else color(number)
        frame.panel.axvspan(start - 0.5, end - 0.5, 0, 0.06, color=rgb, linewidth=0)
        frame.explain(rest if number == IGNORE else name_of(number, names), "patch", number, rgb)


def _things(frame, word, words, foretold):
    """Each thing, by the number of its row (H, W) or by masks (N, H, W), in the colour of its class or of its own."""
    rows = np.asarray(words[word])
    if rows.ndim == 3:
        things = np.zeros(rows.shape[1:], int)
        for number in reversed(np.flatnonzero(_there(words, len(rows)))):  # the first row is the surest
            things[rows[number] > 0.5] = number % 254 + 1
    else:
        things = np.where((rows > 0) & (rows != IGNORE), (rows - 1) % 254 + 1, rows)
    kinds, before = np.asarray(words.get("classes", ())), dict(frame.legend)
    _overlay(frame, things, colors=lambda number: color(int(kinds[number - 1]) if number <= len(kinds) else number))
    frame.legend = before


def _there(words, count):
    return np.asarray(words["present"]) > 0 if "present" in words else np.ones(count, bool)


def _boxes(frame, word, words, foretold):
    """Boxes (N, 4), or their corners (N, 4, 2) with the front marked, where they are known."""
    corners = np.asarray(words[word])
    if corners.ndim == 2:
        if "corners" not in words:
            y0, x0, y1, x1 = corners.T
            _outlines(frame, np.stack([np.stack([y0, y0, y1, y1], -1), np.stack([x0, x1, x1, x0], -1)], -1), words)
        return
    _outlines(frame, corners, words)
    for front in corners[_there(words, len(corners)), :2] - 0.5:
        frame.panel.plot(front[:, 1], front[:, 0], color="white", linewidth=2.0, zorder=4)


def _outlines(frame, corners, words):
    """Boxes (N, 4, 2) in the colours of their classes, dotted if ignored, with names and scores where there is room."""
    classes, named = np.asarray(words.get("classes", np.zeros(len(corners), int))), "classes" in words
    if len(corners) == 1 and not named and np.ndim(words.get("label", ())) == 0:  # of a picture with one box and class
        classes, named = np.asarray(words["label"])[None], True
    order = np.argsort(-np.asarray(words["scores"]), kind="stable") if "scores" in words else range(len(corners))
    there, ignored = _there(words, len(corners)), np.asarray(words.get("ignored", np.zeros(len(corners)))) > 0
    for row in (row for row in order if there[row]):
        points, rgb = corners[row][:, ::-1] - 0.5, color(int(classes[row]))
        wide = 1.8 if frame.detail else 1.1
        style = {"fill": False, "linewidth": wide, "zorder": 3, "path_effects": _stroke(wide)}
        frame.panel.add_patch(Polygon(points, edgecolor=rgb, linestyle=":" if ignored[row] else "-", **style))
        name = name_of(int(classes[row]), frame.facts.names) if named else ""
        score = f"{float(words['scores'][row]):.2f}" if "scores" in words else ""
        if frame.detail and (name or score):
            _tag(frame, f"{name} {score}".strip(), points, rgb)
        elif name:
            frame.explain(name, "box", int(classes[row]), rgb)


def _stroke(wide):
    """A thin dark rim, so that a line shows on anything."""
    return [withStroke(linewidth=wide + 0.8, foreground="black")]


def _tag(frame, text, points, rgb):
    """A box's name at its border: where no other name stands and the picture has room."""
    height, width = frame.size
    pixel = max(width, 1) / (frame.panel.get_window_extent().width or 1)  # of the picture for one on the screen
    tall, wide = 15 * pixel, (6.4 * len(text) + 8) * pixel
    (left, top), (right, bottom) = points.min(0), points.max(0)
    options = [(left, top - tall), (left, bottom), (left, top), (right - wide, top), (left, bottom - tall)]
    options += [(right, top), (left - wide, top), (right, bottom - tall)]
    fits = [
        (x, y)
        for x, y in ((min(max(x, -0.5), width - wide), max(y, -0.5)) for x, y in options)
        if y + tall <= height and all(x + wide < a or a + w < x or y + tall < b or b + h < y
                                      for a, b, w, h in frame.taken)
    ]  # fmt: skip
    x, y = (fits or [(left, max(top - tall, -0.5))])[0]
    frame.taken.append((x, y, wide, tall))
    dark = np.dot(rgb, (0.3, 0.59, 0.11)) < 0.5
    box = {"facecolor": rgb, "edgecolor": "none", "boxstyle": "square,pad=0.15"}
    style = {"fontsize": 7, "color": "white" if dark else "black", "va": "center", "bbox": box, "zorder": 5}
    frame.panel.text(x + 4 * pixel, y + tall / 2, text, **style)


def _points(frame, word, words, foretold):
    points, facts = np.asarray(words[word]), frame.facts
    visible = np.asarray(words.get("visible", np.ones(len(points)))) > 0
    for a, b in facts.extra.get("skeleton", ()):
        if visible[a] and visible[b]:
            line = points[[a, b]]
            wide = 1.4 if frame.detail else 0.7
            style = {"color": "white", "linewidth": wide, "zorder": 3, "path_effects": _stroke(wide)}
            frame.panel.plot(line[:, 1], line[:, 0], **style)
    names = facts.extra.get("point_names", ())
    for number in np.flatnonzero(visible):
        style = {"s": 34 if frame.detail else 9, "color": [color(number)], "edgecolors": "black", "linewidths": 0.6}
        frame.panel.scatter(*points[number][::-1], zorder=4, **style)
        if names:
            frame.explain(name_of(number, names), "dot", number, color(number))


def _curve(frame, word, words, foretold):
    series = np.asarray(words[word], float)
    frame.steps = len(series)
    if frame.detail and series.shape[1] == 1 and (rate := frame.facts.extra.get("rate", 0)) >= _HEARD:
        draw_sound(frame.panel, series[:, 0], rate)
        return
    if series.shape[1] > _CURVES:  # as of a spectrogram: low channels below
        frame.panel.imshow(series.T, aspect="auto", origin="lower", cmap="cividis", interpolation="nearest")
        return
    for channel, values in enumerate(series.T):
        frame.panel.plot(values, color=color(channel + 5), linewidth=1.3 if frame.detail else 0.7)
    if np.ptp(series) > 0:  # room for a band of classes below
        low, high = series.min(), series.max()
        frame.panel.set_ylim(low - 0.12 * (high - low), high + 0.06 * (high - low))


def _values(frame, word, words, foretold):
    """What follows the series, behind its end: the truth in black, a prediction in colour."""
    values = np.asarray(words[word], float)
    rgb, name = (color(0), "predicted") if foretold else ((0.0, 0.0, 0.0), "truth")
    _go_on(frame, words, values, rgb, 1.5 if frame.detail else 0.9, "-" if foretold else ":")
    frame.explain(name, "dotted" if name == "truth" else "line", 0, rgb)


def _references(frame, word, words, foretold):
    """Forecasts to be compared with, thin: where there is room."""
    names = frame.facts.extra.get("reference_names", ())
    for number, values in enumerate(np.asarray(words[word], float)[:_CURVES]) if frame.detail else ():
        rgb = color(number + 3)
        _go_on(frame, words, values, rgb, 0.8, "-")
        frame.explain(name_of(number, [name.replace("_", " ") for name in names]), "line", number + 1, rgb)


def _go_on(frame, words, values, rgb, wide, style):
    """Lines (L, C) behind the end of a series, of which no more than four times as many steps are shown before."""
    steps = frame.steps + np.arange(len(values))
    for line in values.T[:_CURVES]:
        frame.panel.plot(steps, line, color=rgb, linewidth=wide, linestyle=style)
    frame.panel.axvline(frame.steps - 0.5, color="0.6", linewidth=0.6)
    first = max(frame.steps - _BEFORE * len(values), 0)
    frame.panel.set_xlim(first - 0.5, steps[-1] + 0.5)
    frame.shown.append(values)
    shown = np.concatenate([np.asarray(words["series"], float)[first:], *frame.shown]) if "series" in words else values
    low, high = shown.min(), shown.max()
    frame.panel.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low) + (high == low))


def _tokens(frame, word, words, foretold):
    """A text as words; what only fills it up is left out."""
    panel, wide = frame.panel, frame.panel.get_window_extent()
    size = 9 if frame.detail else 6
    lines = text_lines(words[word], frame.facts, wide.width / 100, size)
    room = max(round(wide.height / 100 / line_height(size)), 1)
    if len(lines) > room:
        lines[room - 1 :] = [f"{lines[room - 1][:-1]}…"]
    panel.text(0.0, 1.0, "\n".join(lines), fontsize=size, family="monospace", va="top", transform=panel.transAxes)


def line_height(size: int) -> float:
    """Inches of a line of text of this size."""
    return 1.3 * size / 72


def text_lines(tokens, facts: Facts, wide: float, size: int) -> list[str]:
    """The lines of a text in a panel so many inches wide."""
    return textwrap.wrap(text_of(tokens, facts), max(int(wide / (np.ceil(0.602 * size * 100 / 72) / 100)), 8))


def text_of(tokens, facts: Facts) -> str:
    """Tokens (T,) as a text: words of `facts.extra["words"]`, or numbers."""
    words = facts.extra.get("words", ())
    return " ".join("▢" if words and token == 1 else name_of(int(token), words) for token in tokens if token)


DRAWERS = {
    "picture": _picture,
    "curve": _curve,
    "text": _tokens,
    "overlay": _places,
    "things": _things,
    "outline": _boxes,
    "dots": _points,
    "forecast": _values,
    "thin": _references,
}
"""Who draws what `KINDS` says; classes and numbers of a whole example stand in the title, others beside boxes."""


def title(words: dict, facts: Facts) -> str:
    """The class of an example, the two largest shares of a mixed one, or what else a title can say."""
    target = words.get("target", words.get("probabilities", ()))
    if np.ndim(target) == 1 and len(target) == facts.classes > 0:
        order = np.argsort(-np.asarray(target), kind="stable")[:2]
        return " + ".join(f"{name_of(k, facts.names)} {target[k]:.2f}" for k in order if target[k] > 0.005)
    if "label" in words and np.ndim(words["label"]) == 0:
        return name_of(int(words["label"]), facts.names)
    return " ".join(f"{number:.3g}" for number in target[:6]) if np.ndim(target) == 1 else ""


def explained(legend: dict, letters: int) -> list:
    """What a legend shows: for each name, at most so long, the mark that it has in the picture, in its colour."""
    handles = []
    for whole, (mark, _, rgb) in sorted(legend.items(), key=lambda item: item[1][:2]):
        name = whole if len(whole) <= letters else f"{whole[: letters - 1]}…"
        if mark in ("patch", "box"):
            handles.append(Patch(facecolor=rgb if mark == "patch" else "none", edgecolor=rgb, label=name))
        else:
            style = {"marker": "o", "linestyle": "", "markeredgecolor": "black"} if mark == "dot" else {}
            style |= {"linestyle": ":"} if mark == "dotted" else {}
            handles.append(Line2D([], [], color=rgb, label=name, markersize=5, **style))
    return handles
