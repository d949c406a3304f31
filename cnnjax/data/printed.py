"""Printed letters, drawn by the fonts that come with matplotlib: they load offline."""

from importlib.resources import as_file, files
from string import ascii_uppercase
from typing import Annotated

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnnjax.annotations import Bounds, Count, Gives
from cnnjax.data.source import Memory, Source, assemble
from cnnjax.refusals import refuse_misfits

__all__ = ["letters"]

_SANS = ("", "-Bold", "-Oblique", "-BoldOblique")
_SERIF = ("", "-Bold", "-Italic", "-BoldItalic")
_STIX = ("", "Bol", "Italic", "BolIta")
_TRAIN = (*(f"DejaVuSans{style}" for style in _SANS), *(f"DejaVuSerif{style}" for style in _SERIF))
_TEST = (*(f"DejaVuSansMono{style}" for style in _SANS), *(f"STIXGeneral{style}" for style in _STIX))


def letters(*, size: Annotated[int, Bounds(8, 1024)] = 28, holdout: Count = 0) -> Annotated[Source, Gives(label="")]:
    """416 printed capitals A to Z, `size`×`size` grey, white on black: eight faces to train on, eight others to test.

    The faces are DejaVu Sans and Serif in training, DejaVu Sans Mono and STIX in the test (upright, bold, slanted
    both). So few that a net does better which has seen other characters before.
    """
    refuse_misfits(letters, locals(), path="data.")
    label = np.tile(np.arange(26, dtype=np.int32), 8)
    splits = [Memory({"image": _drawn(faces, size), "label": label}) for faces in (_TRAIN, _TEST)]
    return assemble(splits[0], splits[1], splits[1], holdout=holdout, names=tuple(ascii_uppercase))


def _drawn(faces, size):
    """(26 · faces, size, size, 1) uint8: each letter in the middle, capitals three quarters of the side high."""
    pictures = []
    for face in faces:
        with as_file(files("matplotlib") / "mpl-data" / "fonts" / "ttf" / f"{face}.ttf") as path:
            font = ImageFont.truetype(str(path), size)
        for letter in ascii_uppercase:
            picture = Image.new("L", (size, size))
            ImageDraw.Draw(picture).text((size / 2, size / 2), letter, fill=255, font=font, anchor="mm")
            pictures.append(np.asarray(picture))
    return np.stack(pictures)[..., None]
