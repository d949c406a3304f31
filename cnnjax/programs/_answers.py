"""What a network says of one picture as lines of text, rows of a table and entries of a file, by the kinds of words."""

from collections.abc import Mapping

import numpy as np

from cnnjax.fields import IGNORE, Facts, kind
from cnnjax.programs._drawing import name_of, text_of

_NUMBERS = 64  # of an array that is written out


def tables(words: Mapping, facts: Facts, top: int) -> dict[str, list[dict]]:
    """For each word the rows of a table, what is likeliest first; `top` is how many classes a picture gets."""
    found = {}
    for word, value in words.items():
        value = np.asarray(value)
        makers = _TABLES.get(kind(word, value.ndim), _numbers)
        rows = makers(word, value, words, facts)
        if rows or makers in (_boxes, _corners):  # that there are none is an answer
            found[_headed(word, words)] = rows
    if "top" in found:
        found["top"] = found["top"][:top]
    return found


def _headed(word, words):
    if word in ("label", "probabilities") and np.ndim(words.get("probabilities", 0)) == 1:
        return "top"
    return "picture" if word == "image" else word  # an entry's image is the file


def _class(word, value, words, facts):
    if np.ndim(words.get("probabilities", 0)) == 1:
        return []  # in the order of their probabilities
    return [{"class": int(value), "name": name_of(int(value), facts.names)}]


def _distribution(word, value, words, facts):
    if word == "target" and len(value) != facts.classes:
        return [{"value": float(number)} for number in value]
    order = np.argsort(-value, kind="stable")
    return [{"class": int(i), "name": name_of(i, facts.names), "probability": float(value[i])} for i in order]


def _places(word, value, words, facts):
    names = facts.extra.get("segment_names", ())
    numbers, counts = np.unique(value, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    known = max(counts[numbers != IGNORE].sum(), 1)
    shares = [(int(numbers[i]), counts[i] / known) for i in order if numbers[i] != IGNORE]
    return [{"class": number, "name": name_of(number, names), "share": float(share)} for number, share in shares]


def _instances(word, value, words, facts):
    numbers, counts = np.unique(value, return_counts=True)
    shares = {int(n): float(c / value.size) for n, c in zip(numbers, counts, strict=True) if n not in (0, IGNORE)}
    return [{"row": number - 1, "share": share} for number, share in shares.items()]


def _masks(word, value, words, facts):
    return [{"row": int(row), "share": float((value[row] > 0.5).mean())} for row in _present(words, len(value))]


def _present(words, count):
    """The rows that are more than padding, the surest first."""
    there = np.flatnonzero(np.asarray(words["present"]) > 0) if "present" in words else np.arange(count)
    return there[np.argsort(-np.asarray(words["scores"])[there], kind="stable")] if "scores" in words else there


def _rows(value, words, facts, columns):
    rows = []
    for number in _present(words, len(value)):
        row = {"row": int(number)}
        if "classes" in words:
            of = int(words["classes"][number])
            row |= {"class": of, "name": name_of(of, facts.names)}
        if "scores" in words:
            row["score"] = float(words["scores"][number])
        row |= dict(zip(columns, map(float, np.ravel(value[number])), strict=True))
        if "heights" in words:
            row |= dict(zip(("z0", "z1"), map(float, words["heights"][number]), strict=True))
        rows.append(row)
    return rows


def _boxes(word, value, words, facts):
    return _rows(value, words, facts, ("y0", "x0", "y1", "x1"))


def _corners(word, value, words, facts):
    return _rows(value, words, facts, [f"{axis}_{corner}" for corner in "abcd" for axis in "yx"])


def _points(word, value, words, facts):
    visible = np.asarray(words.get("visible", np.ones(len(value)))) > 0
    names = facts.extra.get("point_names", ())
    return [
        {"point": number, "name": name_of(number, names), "y": float(y), "x": float(x), "visible": int(seen)}
        for number, ((y, x), seen) in enumerate(zip(value, visible, strict=True))
    ]


def _values(word, value, words, facts):
    return [
        {"step": step, "channel": channel, "value": float(number)}
        for step, line in enumerate(value)
        for channel, number in enumerate(line)
    ]


def _picture(word, value, words, facts):
    return [{"height": value.shape[-3], "width": value.shape[-2], "mean": float(value.mean())}]


def _text(word, value, words, facts):
    return [{"text": text_of(value, facts)}]


def _beside(word, value, words, facts):
    return []  # in the rows of what it stands beside


def _numbers(word, value, words, facts):
    """Of a word that is nobody's: its numbers, where they are few."""
    return [{"value": float(number)} for number in value.ravel()] if value.size <= _NUMBERS else []


_TABLES = {
    "class": _class,
    "distribution": _distribution,
    "per place": _places,
    "row per place": _instances,
    "places per row": _masks,
    "boxes": _boxes,
    "corners": _corners,
    "points": _points,
    "values": _values,
    "curve": _values,
    "picture": _picture,
    "tokens": _text,
    "beside rows": _beside,
}


def cells(found: Mapping, top: int, names: int = 0) -> list[str]:
    """The tables of one picture in words, the first `top` rows of each; names of classes filled up to `names`."""
    said = []
    for word, rows in found.items():
        shown = [_cell(row, names) for row in rows[:top]]
        more = [f"and {len(rows) - top} more"] if len(rows) > top > 0 and word not in ("top", "segments") else []
        if word in ("top", "label", "segments"):
            said += shown
        elif word in ("boxes", "corners"):
            said += [f"{len(rows)} box{'es' * (len(rows) != 1)}", *shown, *more]
        elif word == "masks" and "boxes" in found:
            continue  # a box of each has been told
        else:
            said += [word, *shown, *more]
    return said


def _cell(row, names):
    if "probability" in row or "share" in row:
        name = row.get("name", f"#{row.get('row')}")
        return f"{name:<{names}} {row.get('probability', row.get('share')):>6.1%}"
    if "point" in row:
        return f"{row['name']} {row['y']:.1f},{row['x']:.1f}" if row["visible"] else f"{row['name']} –"
    if "row" in row:
        places = [value for key, value in row.items() if key not in ("row", "class", "name", "score")]
        score = [f"{row['score']:.2f}"] if "score" in row else []
        named = [row["name"]] if "name" in row else []
        return " ".join([*named, *score, f"[{' '.join(f'{value:.1f}' for value in places)}]"])
    if "height" in row:
        return f"{row['height']}×{row['width']}, mean {row['mean']:.3g}"
    return " ".join(f"{value:.4g}" if isinstance(value, float) else str(value)
                    for key, value in row.items() if key not in ("step", "channel", "class"))  # fmt: skip


def maps(words: Mapping) -> dict[str, np.ndarray]:
    """What of the words is a picture itself, (H, W) whole numbers or (H, W, C) in [0, 1], by the name of a file."""
    found = {}
    for word, value in words.items():
        value = np.asarray(value)
        what = kind(word, value.ndim)
        if what in ("per place", "row per place") and value.ndim == 2:
            found[word] = value
        elif what == "places per row":
            found |= {f"{word}-{row}": (value[row] > 0.5).astype(np.uint8) for row in _present(words, len(value))}
        elif what == "picture" and value.ndim == 3:
            found[word] = np.clip(value.astype(float) / (255 if value.dtype == np.uint8 else 1), 0, 1)
    return found
