"""Test-time augmentation: the same example seen several ways, and the outputs averaged.

A view's name is a function of the image's size; several names are every combination of theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from cnnjax import ops
from cnnjax.annotations import ViewName
from cnnjax.refusals import one_of, refuse_misfits

__all__ = ["View", "averaged", "five_crop", "mirror", "scales", "shifts", "ten_crop", "tiles"]


class View(NamedTuple):
    """One way to see images: `look` (B, H, W, C) → (B, h, w, C), and `back` maps a dense output (B, h, w, K) back.

    Where `back` has nothing to say it is zero; `weight` is the view's share of the average.
    """

    weight: float
    look: Callable
    back: Callable


def _same(x):
    return x


def mirror(size: tuple[int, int]) -> list[View]:
    """The image and its mirror image, left and right exchanged."""
    return [View(0.5, _same, _same), View(0.5, lambda x: x[:, :, ::-1], lambda x: x[:, :, ::-1])]


def shifts(size: tuple[int, int], *, pixels: int = 1) -> list[View]:
    """The image (half of the weight) and it moved by `pixels` along both axes, either way, its borders reflected."""
    height, width = size

    def moved(start):
        def look(x):
            padded = jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="reflect")
            return padded[:, start : start + height, start : start + width]

        def back(x):
            padded = jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
            return padded[:, 2 * pixels - start :][:, :height, 2 * pixels - start :][:, :, :width]

        return View(0.25, look, back)

    return [View(0.5, _same, _same), moved(0), moved(2 * pixels)]


def five_crop(size: tuple[int, int], *, side: int = 224) -> list[View]:
    """The four corners and the middle, `side`×`side` pixels each."""
    (height, width), spare = size, [n - side for n in size]
    if min(spare) < 0 or side < 1:
        raise ValueError(f"eval.views: a crop of side {side} does not fit an image of {height}×{width} pixels")
    middle = (spare[0] // 2, spare[1] // 2)
    corners = [(y, x) for y in (0, spare[0]) for x in (0, spare[1])]

    def at(y, x):
        def back(out):
            return jnp.pad(out, ((0, 0), (y, spare[0] - y), (x, spare[1] - x), (0, 0)))

        return View(0.2, lambda image: image[:, y : y + side, x : x + side], back)

    return [at(*corner) for corner in (*corners, middle)]


def ten_crop(size: tuple[int, int], *, side: int = 224) -> list[View]:
    """The four corners, the middle and the mirror images of all five (Krizhevsky 2012)."""
    return _both(five_crop(size, side=side), lambda view, side_size: mirror(side_size), size)


def scales(size: tuple[int, int], *, factors: tuple = (0.75, 1.0, 1.25)) -> list[View]:
    """The image at several sizes, for nets that take any; a dense output is brought back to the image's size."""

    def at(factor):
        small = tuple(max(1, round(n * factor)) for n in size)
        return View(
            1 / len(factors),
            lambda x: x if small == tuple(size) else ops.resize(x, small),
            lambda x: x if tuple(x.shape[1:3]) == tuple(size) else ops.resize(x, size),
        )

    return [at(factor) for factor in factors]


def tiles(size: tuple[int, int], *, side: int = 224, margin: int = 32) -> list[View]:
    """The image in tiles, `side`×`side` pixels and `margin` around them, its border mirrored; for dense outputs alone.

    Of each the middle counts, so that what is put together is the output for the whole image, its border mirrored,
    where `margin` is at least the radius of the net's receptive field and both are multiples of its stride; nets of
    valid convolutions may give the middle alone (Ronneberger 2015). Tiles go one after another through one program.
    """
    (height, width), (down, across) = size, [-(-n // side) for n in size]
    if margin >= min(size):
        raise ValueError(f"eval.views: an image of {height}×{width} pixels can't be mirrored by a margin of {margin}")
    spare = [many * side - n for many, n in zip((down, across), size, strict=True)]

    def at(y, x):
        def look(image):
            mirrored = jnp.pad(image, ((0, 0), (margin, margin), (margin, margin), (0, 0)), "reflect")
            mirrored = jnp.pad(mirrored, ((0, 0), (0, spare[0]), (0, spare[1]), (0, 0)), "edge")
            return mirrored[:, y : y + side + 2 * margin, x : x + side + 2 * margin]

        def back(out):
            over = [n - side for n in out.shape[1:3]]
            if min(over) < 0 or any(n % 2 for n in over):
                raise ValueError(
                    f"eval.views: the net gives a map of {out.shape[1]}×{out.shape[2]} for a tile of {side}; it must "
                    "be as large, or larger by an even number: enlarge eval.view_margin"
                )
            top, left = (n // 2 for n in over)
            tile = out[:, top : top + min(side, height - y), left : left + min(side, width - x)]
            after = height - y - tile.shape[1], width - x - tile.shape[2]
            return jnp.pad(tile, ((0, 0), (y, after[0]), (x, after[1]), (0, 0)))

        return View(1 / (down * across), look, back)

    return [at(i * side, j * side) for i in range(down) for j in range(across)]


def _both(views, more, size):
    """Every view, and after it each of the views that `more` gives of what it shows."""
    out = []
    for view in views:
        shown = jax.eval_shape(view.look, jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)).shape[1:3]
        for after in more(view, shown):
            out.append(
                View(
                    view.weight * after.weight,
                    lambda x, first=view, then=after: then.look(first.look(x)),
                    lambda x, first=view, then=after: first.back(then.back(x)),
                )
            )
    return out


def _named(name, size, options):
    return globals()[one_of(name, get_args(ViewName), path="eval.views")](size, **options.get(name, {}))


def averaged(
    predict: Callable,
    image: jax.Array,
    names: Sequence[str],
    options: Mapping[str, Mapping],
    *,
    of: Literal["probabilities", "outputs"] = "probabilities",
    dense: bool = False,
) -> jax.Array:
    """What `predict` (images → outputs) says of `image` (B, H, W, C) on average over the named views' combinations.

    `of="probabilities"`: outputs are logits along the last axis; their softmax is averaged and the logarithm of
    that returned, so that it stands in for logits. `of="outputs"`: outputs are averaged as they are.
    `dense`: outputs (B, h, w, K) as large as the view are mapped back to the image before.
    Views of one shape are one loop over one network.
    """
    refuse_misfits(averaged, locals(), path="eval.views: ")
    if "tiles" in names and not dense:
        raise ValueError("eval.views: tiles are put together to a map (B, H, W, K), which these outputs are not")
    size = tuple(image.shape[1:3])
    views = [View(1.0, _same, _same)]
    for name in names:
        views = _both(views, lambda view, shown, name=name: _named(name, shown, options), size)
    shapes = {}
    for view in views:
        shapes.setdefault(jax.eval_shape(view.look, image).shape, []).append(view)

    def outcome(x):
        out = predict(x)
        return jax.nn.softmax(out) if of == "probabilities" else out

    total, seen = 0.0, 0.0
    for alike in shapes.values():
        shown = jnp.stack([view.look(image) for view in alike])
        outputs = jax.lax.map(outcome, shown) if len(alike) > 1 else outcome(shown[0])[None]
        for view, output in zip(alike, outputs, strict=True):
            total += view.weight * (view.back(output) if dense else output)
            seen += view.weight * (view.back(jnp.ones_like(output[..., :1])) if dense else 1.0)
    mean = total / seen
    return jnp.log(jnp.maximum(mean, 1e-30)) if of == "probabilities" else mean
