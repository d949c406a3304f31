"""Options that many entries share: how far, how new pixels look, which fields they change."""

from typing import Literal

import jax
import jax.numpy as jnp

from cnnjax.fields import KINDS, has_time, kind, misshapen, of_kind

Border = Literal["auto", "constant", "mean", "edge", "reflect"]
Method = Literal["bilinear", "cubic"]
Content = Literal["constant", "mean", "noise"]
PICTURES = of_kind("picture")
FLOATING = of_kind("picture", "curve")
BRIGHT = 2 / 3
TRIES = 10  # windows that are drawn until one fits into the picture


def outside(facts, border, fill, method="bilinear"):
    """The part of a move that says what its new pixels look like."""
    if border == "auto":
        border = "edge" if bright(facts) else "constant"
    return {"border": border, "fill": jnp.asarray(facts.mean if border == "mean" else fill, float), "method": method}


def bright(facts):
    """Whether the training set is dark on a bright ground: its mean lies above 2/3 from black to white, by channel."""
    black, white = facts.black or (0.0,) * len(facts.mean), facts.white or (1.0,) * len(facts.mean)
    shares = [(mean - low) / (high - low) for mean, low, high in zip(facts.mean, black, white, strict=True)]
    return bool(shares) and min(shares) > BRIGHT


def signed(key, shape=()):
    """Uniform draws from -1 … 1."""
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


def happens(key, probability):
    """True with a (traced) probability: never at 0, always at 1."""
    return jax.random.uniform(key) < probability


def drawn_sides(size, share, aspect, spare=0):
    """Height and width in whole pixels of the first window that fits into `size`, and whether one does.

    Of windows of these shares (N,) of the area, whose width / height has these logarithms (N,); `spare` pixels along
    both axes must be left.
    """
    area = share * (size[0] * size[1])
    sides = [jnp.round(jnp.sqrt(area * jnp.exp(sign * aspect))) for sign in (-1, 1)]
    fits = jnp.all(jnp.stack([(side > 0) & (side <= n - spare) for side, n in zip(sides, size, strict=True)]), axis=0)
    first = jnp.argmax(fits)
    return *(side[first] for side in sides), fits[first]


def refuse(entry, word, why):
    """Raises ValueError: the batch has a word that an entry can't carry."""
    entry = entry.rpartition(":")[2]
    raise ValueError(f"augment.{entry}: the batch has {word}, {why}; leave {entry} out of augment.train")


def carried(entry, facts, example, column, *, verb):
    """{word: what becomes of it} by that column of the table of kinds; what can't be carried is refused here.

    For mixing, which works on a batch, `example` is one of it, by shapes alone.
    """
    if wrong := misshapen({name: value.shape for name, value in example.items()}, facts):
        refuse(entry, wrong[0], f"which it can't {verb}: {wrong[1]}")
    found = {name: getattr(KINDS[kind(name, value.ndim)], column) for name, value in example.items()}
    for name, treatment in found.items():
        if treatment == "refused":
            refuse(entry, name, f"which it can't {verb}")
    return found


def length_of(entry, example, names=("series",)):
    """The steps of an example's first input of these names."""
    for name in names:
        if name in example:
            return example[name].shape[0]
    raise ValueError(f"augment.{entry} needs `{'` or `'.join(names)}`; the batch has {', '.join(sorted(example))}")


def along(entry, facts, example, length):
    """The words of an example that have these many steps and move with them; what would become untrue is refused."""
    treatments = carried(entry, facts, example, "time", verb="move along time")
    timed = [name for name, how in treatments.items() if how == "moved" and has_time(name, example[name].ndim)]
    for name in timed:
        if example[name].shape[0] != length:
            refuse(entry, name, f"of shape {example[name].shape}, which does not have the {length} steps")
    return timed


def outlines(batch):
    """Shape and type of one example of a batch, by word."""
    return {name: jax.ShapeDtypeStruct(value.shape[1:], value.dtype) for name, value in batch.items()}


def plane(entry, example):
    """(height, width) of an example's image or video."""
    for name in PICTURES:
        if name in example:
            return example[name].shape[-3:-1]
    raise ValueError(f"augment.{entry} needs `image` or `video`; the batch has {', '.join(sorted(example))}")


def repainted(example, change, names=PICTURES):
    """`example` with `change` done to its image or video (all frames of one alike)."""
    return {name: change(value) if name in names else value for name, value in example.items()}
