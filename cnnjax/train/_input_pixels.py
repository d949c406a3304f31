"""From the pixels of the picture that a net saw back to those of the input that it was made of."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.train.program import Program, pipeline

PLACES = {"segments": 255, "instances": 255, "masks": 0, "probabilities": 0}  # with what lies outside of the picture
_PLACED = ("boxes", "corners", "points", *PLACES)
_TOLERANCE = 0.02  # pixels that a pipeline may be away from an affine map
_CHECKED = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5), (0.25, 0.5), (0.5, 0.25), (0.75, 0.75))


def placed(words: Mapping, input: str) -> tuple[str, ...]:
    """Those of the predicted words that stand for places in a picture."""
    if input not in ("image", "video"):
        return ()
    return tuple(name for name in words if name in _PLACED and (name != "probabilities" or len(words[name].shape) > 3))


def affine_maps(program: Program, hparams: Mapping) -> Callable:
    """maps(inputs, first) -> (B, 2, 3): where the evaluation pipeline puts an input's place (y, x, 1) in its picture.

    They are solved from three corners of the picture, which go through the pipeline as points; others must fit.
    """
    facts, names, count = program.facts, program.config["augment"]["eval"], len(_CHECKED)
    alone = dataclasses.replace(facts, extra={**facts.extra, "mirror": tuple(range(count))})
    apply = pipeline(sections.with_numbers(program.config, hparams), alone, "eval")

    @jax.jit
    def landed(inputs, first):
        height, width = plane(facts.input, inputs.shape)
        points = jnp.asarray(_CHECKED) * jnp.array([height, width]) - 0.5
        index = jnp.arange(len(inputs)) + first
        batch = {facts.input: inputs, "points": jnp.tile(points, (len(inputs), 1, 1)), "index": index}
        batch |= {"epoch": index * 0, "valid": jnp.ones(len(inputs))}
        return apply(jax.random.key(0), batch)["points"]

    def maps(inputs, first):
        try:
            found = np.asarray(landed(inputs, first), np.float64)
        except ValueError as error:
            raise ConfigError(f"{_refusal(names)}: {error}") from error
        size = plane(facts.input, inputs.shape)
        points = np.asarray(_CHECKED) * size - 0.5
        linear = np.stack([(found[:, i] - found[:, 0]) / size[i - 1] for i in (1, 2)], -1)
        offset = found[:, 0] - linear @ points[0]
        apart = np.abs(points @ linear.swapaxes(1, 2) + offset[:, None] - found).max()
        if not apart <= _TOLERANCE or np.abs(np.linalg.det(linear)).min() < 1e-9:
            raise ConfigError(
                f"{_refusal(names)}: it moves pictures by more than an affine map ({apart:.3g} pixels of difference); "
                "leave out elastic and perspective moves, or take Trained.answer, which stays in the net's own pixels"
            )
        return np.concatenate([linear, offset[..., None]], -1)

    return maps


def _refusal(names: tuple[str, ...]) -> str:
    return f"augment.eval is {names}, so predictions can't be brought back into the inputs' pixels"


def plane(input: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of images (B, H, W, C) or videos (B, T, H, W, C) of a shape."""
    return tuple(shape[1:3] if input == "image" else shape[2:4])


def brought_back(
    words: Mapping, maps: np.ndarray, seen: tuple[int, int], size: tuple[int, int], mirror: tuple[int, ...] = ()
) -> dict:
    """The words of pictures of size `seen` in pixels of the inputs of `size` from which maps (B, 2, 3) lead to them.

    Boxes are cut to the input; points of a mirrored picture change places in the order `mirror`.
    """
    for name in PLACES:
        at = _axes(name)
        if name in words and words[name].ndim > 3 - (name in ("segments", "instances")):
            have = tuple(words[name].shape[axis] for axis in at)
            if have != seen:
                raise ValueError(
                    f"the task predicts {name} of size {have}, but the picture that its net saw has {seen}"
                )
    linear, offset = maps[..., :2], maps[..., 2]
    if size == seen and np.abs(linear - np.eye(2)).max() < 1e-6 and np.abs(offset).max() < 1e-4:
        return dict(words)
    inverse = np.linalg.inv(linear)

    def back(places):
        flat = places.reshape(len(places), -1, 2) - offset[:, None]
        return (flat @ inverse.swapaxes(1, 2)).reshape(places.shape).astype(places.dtype)

    out = dict(words)
    for name in words:
        if name in ("points", "corners"):
            out[name] = back(words[name])
        elif name == "boxes":
            out[name] = _boxes(words[name], back, size)
        elif name in PLACES and words[name].ndim > 2 and (name != "probabilities" or words[name].ndim > 3):
            out[name] = _read(words[name], maps, size, _axes(name), PLACES[name])
    if "points" in words and mirror:
        turned = np.linalg.det(linear) < 0
        for name in ("points", "visible", "scores"):
            if name in out and out[name].shape[:2] == out["points"].shape[:2]:
                swapped = out[name][:, list(mirror)]
                out[name] = np.where(turned.reshape(-1, *(1,) * (out[name].ndim - 1)), swapped, out[name])
    return out


def _axes(name: str) -> tuple[int, int]:
    """The axes of height and width."""
    return (-3, -2) if name == "probabilities" else (-2, -1)


def _boxes(boxes: np.ndarray, back: Callable, size: tuple[int, int]) -> np.ndarray:
    """Boxes (B, N, 4) around where their corners land; their numbers are edges, half a pixel from centres."""
    y0, x0, y1, x1 = np.moveaxis(boxes, -1, 0)
    corners = np.stack([np.stack(corner, -1) for corner in ((y0, x0), (y0, x1), (y1, x0), (y1, x1))], -2)
    landed = back(corners - 0.5) + 0.5
    around = np.concatenate([landed.min(-2), landed.max(-2)], -1)
    return np.clip(around, 0, np.array([*size, *size], boxes.dtype))


def _read(values: np.ndarray, maps: np.ndarray, size: tuple[int, int], axes: tuple[int, int], fill: int) -> np.ndarray:
    """Values read at the nearest place of each pixel of the input; `fill` where the picture did not reach."""
    values = np.moveaxis(values, axes, (1, 2))
    grid = np.stack([*np.meshgrid(*map(np.arange, size), indexing="ij"), np.ones(size)], -1)
    out = np.full((len(values), *size, *values.shape[3:]), fill, values.dtype)
    for row, (value, matrix) in enumerate(zip(values, maps, strict=True)):
        places = np.rint(grid @ matrix.T).astype(int)
        inside = ((places >= 0) & (places < value.shape[:2])).all(-1)
        out[row][inside] = value[tuple(places[inside].T)]
    return np.moveaxis(out, (1, 2), axes)
