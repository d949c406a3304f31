"""Where the inputs' own pixels lie in the picture that a net saw: the maps by which predictions are brought back."""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import config as sections
from cnnjax.carrying import plane_sizes
from cnnjax.config import ConfigError
from cnnjax.train.program import Program, pipeline

_TOLERANCE = 0.02  # pixels that a pipeline may be away from an affine map
_CHECKED = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5), (0.25, 0.5), (0.5, 0.25), (0.75, 0.75))


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
        return np.concatenate([_snapped(linear, 1e-6), _snapped(offset, 1e-4)[..., None]], -1)

    return maps


def _snapped(values: np.ndarray, near: float) -> np.ndarray:
    """Values of which those near a whole number are it: what was solved from single precision."""
    return np.where(np.abs(values - np.rint(values)) < near, np.rint(values), values)


def _refusal(names: tuple[str, ...]) -> str:
    return f"augment.eval is {names}, so predictions can't be brought back into the inputs' pixels"


def plane(input: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of images (B, H, W, C) or videos (B, T, H, W, C) of a shape."""
    return tuple(shape[1:3] if input == "image" else shape[2:4])


def check_planes(words: Mapping, seen: tuple[int, int]) -> None:
    """Refuses predicted words (B, …), by their shapes, of another size than the picture that the net saw."""
    for name, have in plane_sizes(words).items():
        if have != seen:
            raise ValueError(f"the task predicts {name} of size {have}, but the picture that its net saw has {seen}")
