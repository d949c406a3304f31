"""Every augmentation there is, at full strength, on one picture and a curve."""

import inspect

import jax
import numpy as np
from PIL import Image, ImageDraw

from cnnjax import augment
from cnnjax.data.source import Facts
from cnnjax.programs import _figures

# What shows in a small picture, where the default would hardly be seen or always differs.
_GALLERY = {
    "blur": {"sigma": 4.0, "window": 15},
    "brightness": {"amount": 0.8},
    "contrast": {"amount": 0.9},
    "channel_contrast": {"kept": 0.2, "spread": 0.0},
    "defocus": {"radius": 5.0, "window": 13, "spread": 0.0},
    "hsv_brightness": {"amount": 0.4, "spread": 0.0},
    "jpeg": {"quality": 5.0, "spread": 0.0},
    "pixelate": {"share": 0.15, "spread": 0.0},
    "shot": {"photons": 10.0},
    "zoom_blur": {"factor": 1.3, "steps": 16, "spread": 0.0},
    "gamma": {"amount": 2.0},
    "saturation": {"amount": 2.0},
    "center_crop": {"side": 80},
    "cutout": {"side": 48.0},
    "elastic": {"pixels": 4.0, "smooth": 10.0},
    "erase": {"probability": 1.0},
    "flip": {"probability": 1.0},
    "crop": {"padding": 24},
    "greyscale": {"probability": 1.0},
    "hue": {"turn": 0.3},
    "lighting": {"sigma": 1.0},
    "log_mel": {"rate": 64, "bands": 10, "window": 0.5, "hop": 0.03},
    "mixup": {"alpha": 4.0},
    "noise": {"sigma": 0.15},
    "perspective": {"tilt": 0.4},
    "posterize": {"bits": 2.0},
    "random_resized_crop": {"smallest": 0.2, "largest": 0.5},
    "repeat": {"times": 2},
    "resize": {"height": 48, "width": 96},
    "rotate": {"degrees": 40.0},
    "salt_and_pepper": {"share": 0.1},
    "series_band_mask": {"share": 0.5},
    "series_mask": {"share": 0.5},
    "series_stretch": {"factor": 2.0},
    "sharpness": {"amount": 3.0},
    "shear": {"degrees": 25.0},
    "shift": {"pixels": 24},
    "temporal_crop": {"frames": 24},
    "translate": {"share": 0.25},
    "zoom": {"factor": 2.0},
}


def gallery(path: str) -> int:
    """Draws every augmentation at full strength on one picture, its points, its box and a curve."""
    entries = sorted(name for name in vars(augment) if augment.kind(getattr(augment, name)))
    figure, panels = _figures.grid(len(entries) + 1, "", titles=1)
    picture = _scene()
    pictures = {
        "image": np.stack([picture, picture[:, ::-1, ::-1]]),
        "points": np.tile(np.array([[34.0, 98.0], [63.0, 44.0]], np.float32), (2, 1, 1)),
        "boxes": np.tile(np.array([[[44, 22, 104, 66]]], np.float32), (2, 1, 1)),
        "label": np.array([0, 1], np.int32),
        "index": np.arange(2, dtype=np.int32),
        "epoch": np.zeros(2, np.int32),
    }
    time = np.linspace(0, 6 * np.pi, 64)
    curves = {"series": np.tile(np.stack([np.sin(time), np.cos(time / 2)], -1), (2, 1, 1)).astype(np.float32)}
    names, mirror = ("house", "turned"), {"mirror": (0, 1)}
    facts = Facts("image", picture.shape, 2, mean=(0.5,) * 3, std=(0.25,) * 3, names=names, extra=mirror)
    for panel, name in zip(panels, ["", *entries], strict=True):
        curved = name.startswith("series") or name in ("temporal_crop", "log_mel")
        fields = _augmented(facts, name, curves if curved else pictures)
        about = Facts("series" if curved else "image", names=facts.names)
        if name == "normalize":
            fields["image"] = fields["image"] / 4 + 0.5
        _figures.draw(panel, fields, about)
        panel.set_title(name or "as it is", fontsize=7, pad=2)
    _figures.save(figure, path, dpi=80)
    return len(entries)


def _augmented(facts: Facts, name: str, fields: dict) -> dict:
    """The last example of a batch after one augmentation."""
    options = dict(_GALLERY.get(name, {}))
    if name and "content" in inspect.signature(getattr(augment, name)).parameters:
        options["content"] = "noise"
    apply = augment.compose(facts, (name,) if name else (), {name: options})
    try:
        jax.eval_shape(apply, jax.random.key(4), fields)
    except ValueError:  # what can't carry points and boxes is shown without them
        fields = {word: value for word, value in fields.items() if word not in ("points", "boxes")}
    out = jax.jit(apply)(jax.random.key(4), fields)
    return {field: np.asarray(value)[0] for field, value in out.items()}


def _scene(side: int = 128) -> np.ndarray:
    """A house, a tree and the sun: straight lines, circles and colours to recognise."""
    image = Image.new("RGB", (side, side), (120, 180, 235))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 88, side, side), fill=(96, 160, 72))
    draw.ellipse((84, 20, 112, 48), fill=(250, 215, 60))
    draw.rectangle((24, 62, 64, 102), fill=(200, 90, 70))
    draw.polygon(((18, 64), (44, 44), (70, 64)), fill=(110, 60, 50))
    draw.rectangle((38, 80, 50, 102), fill=(70, 45, 35))
    draw.rectangle((29, 68, 37, 76), fill=(235, 235, 205))
    draw.rectangle((51, 68, 59, 76), fill=(235, 235, 205))
    draw.rectangle((92, 76, 98, 104), fill=(95, 65, 40))
    draw.ellipse((80, 54, 110, 84), fill=(40, 110, 55))
    for x in range(0, side, 16):
        draw.line((x, 112, x + 8, 112), fill=(235, 235, 235), width=2)
    return np.asarray(image)
