"""Policies: for each example, moves and colours drawn from one list. A move and the colours that follow it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from cnnjax.annotations import AtLeastOne, NonNegative
from cnnjax.augment._moving import Move, product
from cnnjax.augment._options import Border, Method, outside, repainted
from cnnjax.augment.colors import (
    ABOVE,
    blended,
    cut,
    equalized,
    luminance,
    mean_luminance,
    posterized,
    solarized,
    stretched,
)
from cnnjax.augment.moves import centred
from cnnjax.augment.textures import smoothed
from cnnjax.fields import Facts

__all__ = ["randaugment", "trivialaugment"]

OPERATIONS = (
    "identity",
    "shear along the width",
    "shear along the height",
    "translate along the width",
    "translate along the height",
    "rotate",
    "brightness",
    "saturation",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)


def _number(name):
    return OPERATIONS.index(name)


def _matrix(size, chosen, amount, slant, way, degrees):
    """The matrix of one draw: the identity unless it is one of the five moves."""

    def of(name, most):
        return jnp.where(chosen == _number(name), most * amount, 0.0)

    along, down = of("shear along the width", slant), of("shear along the height", slant)
    x, y = of("translate along the width", way[1]), of("translate along the height", way[0])
    angle = jnp.deg2rad(of("rotate", degrees))
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    # Only one of them is not zero, so that they may be added up.
    return centred(size, ((cosine, sine - down), (-sine - along, cosine)), offset=(y, x))


def _recolored(image, chosen, amount, strength, factor, bits, least):
    """`image` after one draw: itself, exactly, unless it is one of the eight colours."""
    grey = luminance(image)
    poor = jnp.zeros_like(image)
    for name, other in (("saturation", grey), ("contrast", mean_luminance(image)), ("sharpness", smoothed(image))):
        poor = jnp.where(chosen == _number(name), other, poor)
    enhanced = (chosen >= _number("brightness")) & (chosen <= _number("sharpness"))
    image = cut(blended(poor, image, jnp.where(enhanced, 1 + factor * amount, 1.0)))
    size = jnp.abs(amount)
    image = posterized(image, jnp.where(chosen == _number("posterize"), 8 - (8 - bits) * size, 8))
    level = ABOVE - size * (ABOVE - least)
    image = solarized(image, jnp.where(chosen == _number("solarize"), level, ABOVE))
    full = jnp.minimum(strength, 1.0)
    image = blended(image, stretched(image), jnp.where(chosen == _number("autocontrast"), full, 0.0))
    return blended(image, equalized(image), jnp.where(chosen == _number("equalize"), full, 0.0))


def _drawn(key, size, strength, levels, slant, way, degrees, factor, bits):
    """A matrix, and the change of colours, of as many draws as there are `levels`, each 0 … 1."""
    matrix, changes = jnp.eye(3, dtype=float), []
    for part, level in zip(jax.random.split(key, len(levels)), levels, strict=True):
        operation, sign = jax.random.split(part)
        chosen = jax.random.randint(operation, (), 0, len(OPERATIONS))
        amount = jnp.clip(level * strength, 0, 1) * jnp.where(jax.random.bernoulli(sign), 1.0, -1.0)
        matrix = product(matrix, _matrix(size, chosen, amount, slant, way, degrees))
        changes.append((chosen, amount))

    def change(image):
        for chosen, amount in changes:
            image = _recolored(image, chosen, amount, strength, factor, bits, 0.0)
        return image

    return matrix, lambda example: repainted(example, change)


def randaugment(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    layers: AtLeastOne = 2,
    magnitude: NonNegative = 9.0,
    border: Border = "auto",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> tuple[Move, Callable]:
    """`layers` of fourteen moves and colours one after the other, at `magnitude` of 30 (Cubuk 2019).

    Ranges are torchvision's. The moves of all layers are one move; their colours follow in order.
    """
    way = [n * 150 / 331 for n in size]
    matrix, colors = _drawn(key, size, strength, [magnitude / 30] * layers, 0.3, way, 30.0, 0.9, 4.0)
    return Move(matrix, upright=True, **outside(facts, border, fill, method)), colors


def trivialaugment(
    key: jax.Array,
    facts: Facts,
    size: tuple[int, int],
    strength: jax.Array | float,
    *,
    border: Border = "auto",
    fill: float = 0.0,
    method: Method = "bilinear",
) -> tuple[Move, Callable]:
    """One of fourteen moves and colours at a uniform magnitude, in the wide ranges (Müller 2021)."""
    draw, level = jax.random.split(key)
    level = jax.random.uniform(level)
    matrix, colors = _drawn(draw, size, strength, [level], 0.99, (32.0, 32.0), 135.0, 0.99, 2.0)
    return Move(matrix, upright=True, **outside(facts, border, fill, method)), colors
