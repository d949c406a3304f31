"""Segments of pictures of any size, tile by tile, in the pixels of their files: none is resized."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from cnnjax.analysis import receptive_fields
from cnnjax.data import pictures
from cnnjax.ops import compiler_options, tiled
from cnnjax.programs._asking import Said
from cnnjax.programs._served import Served
from cnnjax.refusals import ConfigError

_MOST = 2**30  # pixels of a file that is read tile by tile; Pillow's own limit is a twelfth of it


def asked_in_tiles(served: Served, files: list[Path], tile: int) -> Iterator[Said]:
    """The segments of all pictures, of tiles of `tile` pixels a side with what else a pixel's answer depends on."""
    margin = margin_of(served, tile)
    apply = jax.jit(served.answer, compiler_options=compiler_options(jax.default_backend()))

    def segments(image):
        return apply(served.variables, image)["segments"][..., None]

    for path in files:
        with _large():
            _, placings, bad = pictures([path], (1, 1, 3), fit="squash")  # how large it is
        if str(path) in bad:
            yield Said(str(path), path, error=bad[str(path)])
            continue
        size, depth = placings[0].file, served.reads.get("depth", 8)
        with _large():
            image = pictures([path], (*size, served.shape[-1]), fit="squash", depth=depth)[0][0]
        try:
            found = np.asarray(tiled(segments, image, tile=tile, margin=margin))[..., 0]
        except ValueError as error:
            yield Said(str(path), path, error=str(error))
            continue
        words = {"segments": found}
        yield Said(str(path), path, words, size, found=words, placing=placings[0])


@contextlib.contextmanager
def _large():
    """Pictures may be as large as tiles are for."""
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, _MOST
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def margin_of(served: Served, tile: int) -> int:
    """The pixels around a tile that answers in it depend on, in whole strides; what has no such is refused."""
    if served.facts.input != "image" or len(served.shape) != 3:
        raise ConfigError(f"--tile is {tile}, but the network reads {served.facts.input}, no pictures; leave it out")
    image = jax.ShapeDtypeStruct((1, *served.shape), served.dtype)
    words = jax.eval_shape(served.answer, served.variables, image)
    if "segments" not in words:
        given = ", ".join(words)
        raise ConfigError(f"--tile is {tile}, but tiles are for segments; the network predicts {given}: leave it out")
    fields = receptive_fields(served.net, (1, *served.shape))
    stride, reach = (max(max(getattr(field, name)) for field in fields.values()) for name in ("stride", "size"))
    if math.isinf(stride) or math.isinf(reach):
        raise ConfigError(f"--tile is {tile}, but every answer of this net depends on the whole picture; leave it out")
    if tile % int(stride):
        near = max(round(tile / stride), 1) * int(stride)
        raise ConfigError(f"--tile is {tile}; it must be a multiple of the net's stride, {stride:.0f}: {near}")
    return math.ceil(reach / 2 / stride) * int(stride)
