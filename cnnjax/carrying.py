"""Words of a batch carried into the pixels of other pictures by affine maps: from files to inputs, and back.

It does in NumPy, for what is read and what is predicted, what `fields.KINDS` says of moves.
"""

from collections.abc import Mapping

import numpy as np

from cnnjax.fields import KINDS, SEEN, WITHIN, kind, plane_axes

__all__ = ["carried", "nowhere", "placed", "plane_sizes"]

_NEAR = 1e-4  # pixels: a centre on an edge falls the same way on every machine
_PRESENCE = {"landed": "visible", "cut": "present", "turned": "present"}  # the word that says what is there


def placed(words: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Those of the words (B, …) that stand for places in a picture; their shapes are enough."""
    kinds = {name: KINDS[_kind(name, value)] for name, value in words.items()}
    return tuple(name for name, its in kinds.items() if its.outside >= 0 or its.move in _PRESENCE)


def plane_sizes(words: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int]]:
    """(height, width) of each of the words (B, …) that are maps of places."""
    kinds = {name: _kind(name, value) for name, value in words.items()}
    return {
        name: tuple(words[name].shape[axis] for axis in plane_axes(its))
        for name, its in kinds.items()
        if KINDS[its].outside >= 0
    }


def carried(
    words: Mapping[str, np.ndarray], maps: np.ndarray, size: tuple[int, int], mirror: tuple[int, ...] = ()
) -> dict[str, np.ndarray]:
    """The words (B, …) in pictures of `size` (height, width), whose places maps (B, 2, 3) lead back to those of before.

    Places are (y, x, 1), whole at pixels' centres. Maps of places are read at the nearest, and are 255 (shares and
    masks 0) where there is none. Points outside are invisible; boxes are cut, and neither they nor corners are present
    where nearly nothing of them is left. A mirror gives points the order `mirror`, and turns corners round. A pixel's
    area grows with what one covers.
    """
    linear, offset = maps[..., :2], maps[..., 2]
    inverse = np.linalg.inv(linear)
    turned = np.linalg.det(linear) < 0

    def land(places):  # (B, …, 2)
        flat = places.reshape(len(places), -1, 2) - offset[:, None]
        return (flat @ inverse.swapaxes(1, 2)).reshape(places.shape)

    out, kept = dict(words), []
    for name in placed(words):
        value, its = words[name], KINDS[_kind(name, words[name])]
        if its.outside >= 0:
            out[name] = _read(value, maps, size, plane_axes(_kind(name, value)), its.outside)
        elif its.move == "landed":
            out |= _points(land(np.float64(value)), words, size, turned, mirror)
        else:
            out[name], left = (_boxes if its.move == "cut" else _corners)(np.float64(value), land, size, turned)
            kept.append(left)
            there = _there(words, value) > 0
            out[name] = np.where(there.reshape(*there.shape, *(1,) * (value.ndim - 2)), out[name], np.float32(value))
    out |= {
        name: (value * np.abs(np.linalg.det(linear))).astype(np.float32)
        for name, value in words.items()
        if KINDS[_kind(name, value)].move == "spread"
    }
    if kept:
        present = _there(words, kept[0])
        out["present"] = np.where(np.logical_and.reduce(kept), present, np.zeros_like(present))
    return out


def nowhere(words: Mapping[str, np.ndarray], size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The words (B, …) that pictures of this size would have, where they can't be read: nothing has a place in them."""
    blank = dict(words)
    for name in placed(words):
        value, its = words[name], KINDS[_kind(name, words[name])]
        if its.outside >= 0:
            shape = list(value.shape)
            for axis, length in zip(plane_axes(_kind(name, value)), size, strict=True):
                shape[axis] = length
            blank[name] = np.full(shape, its.outside, value.dtype)
        else:
            blank[name], presence = np.zeros(value.shape, np.float32), _PRESENCE[its.move]
            blank[presence] = np.zeros_like(words.get(presence, np.zeros(value.shape[:2], np.float32)))
    return blank


def _kind(name, value):
    return kind(name, len(value.shape) - 1)


def _there(words, rows):
    return words.get("present", np.ones(rows.shape[:2], np.float32))


def _read(values, maps, size, axes, outside):
    """(B, …) of which each pixel of the plane is read where the map leads."""
    values = np.moveaxis(values, axes, (-2, -1))
    lines, out = np.ogrid[: size[0], : size[1]], np.empty((*values.shape[:-2], *size), values.dtype)
    for row, (value, matrix) in enumerate(zip(values, maps, strict=True)):
        index, inside = [], True
        for part, length in zip(matrix, value.shape[-2:], strict=True):
            steps = [factor * line for factor, line in zip(part, lines, strict=False) if factor]  # a line where it can
            at = np.floor(sum(steps, np.zeros((1, 1))) + part[2] + 0.5 + _NEAR).astype(np.int64)
            inside = inside & (at >= 0) & (at < length)
            index.append(np.clip(at, 0, length - 1))
        out[row] = np.where(inside, value[..., index[0], index[1]], np.asarray(outside, values.dtype))
    return np.moveaxis(out, (-2, -1), axes)


def _points(landed, words, size, turned, mirror):
    """Points (B, K, 2), whether each is visible, and their scores; in a mirror they change places."""
    inside = ((landed >= -0.5) & (landed <= np.array(size) - 0.5)).all(-1)
    visible = words.get("visible", np.ones(landed.shape[:2], np.float32))
    out = {"points": landed.astype(np.float32), "visible": np.where(inside, visible, np.zeros_like(visible))}
    if "scores" in words and words["scores"].shape == visible.shape and not {"boxes", "corners"} & set(words):
        out["scores"] = words["scores"]
    if mirror and turned.any():
        if len(mirror) != landed.shape[1]:
            raise ValueError(f"{landed.shape[1]} points in a mirror; facts.extra['mirror'] orders {len(mirror)}")
        for word, value in out.items():
            out[word] = np.where(turned.reshape(-1, *(1,) * (value.ndim - 1)), value[:, list(mirror)], value)
    return out


def _boxes(boxes, land, size, turned):
    """Boxes (B, N, 4) around where their corners land, cut, and which of them are left.

    Their numbers are edges, half a pixel from centres. One that is inside out stays so, to be refused.
    """
    y0, x0, y1, x1 = np.moveaxis(boxes, -1, 0)
    frame = np.stack([np.stack(corner, -1) for corner in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))], -2)
    landed = land(frame - 0.5) + 0.5
    around = np.concatenate([landed.min(-2), landed.max(-2)], -1)
    seen = np.clip(around, 0, np.array([*size, *size]))
    left = (_area(seen) > 0) & (_area(seen) >= SEEN * _area(around))
    wrong = (y1 <= y0) | (x1 <= x0)
    as_they_are = np.concatenate([landed[..., 0, :], landed[..., 2, :]], -1)
    return np.where(wrong[..., None], as_they_are, seen).astype(np.float32), left | wrong


def _corners(corners, land, size, turned):
    """Corners (B, N, 4, 2) where they land, beyond the picture too, and which of them are in it, if but a little.

    The first two stay those of the front, and they go round the way that they did.
    """
    landed = land(corners - 0.5) + 0.5
    landed = np.where(turned[:, None, None, None], landed[:, :, [1, 0, 3, 2]], landed)
    down, along = np.meshgrid(*[(np.arange(WITHIN) + 0.5) / WITHIN] * 2, indexing="ij")
    shares = np.stack([(1 - down) * (1 - along), (1 - down) * along, down * along, down * (1 - along)])
    inner = np.einsum("ij,bnic->bnjc", shares.reshape(4, -1), landed)
    inside = ((inner >= 0) & (inner <= np.array(size))).all(-1)
    return landed.astype(np.float32), inside.mean(-1) >= SEEN


def _area(boxes):
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
