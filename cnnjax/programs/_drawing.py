"""Contact sheets: the examples of a batch with their labels drawn in, and a gallery of every augmentation."""

import inspect
import textwrap

import jax
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageDraw

from cnnjax import augment
from cnnjax import config as sections
from cnnjax.config import ConfigError
from cnnjax.data.source import Facts
from cnnjax.data.stream import passes
from cnnjax.fields import of_kind
from cnnjax.train.job import prepare
from cnnjax.train.state import key_for

_DRAWN = ("image", "video", "series")
# What shows in a small picture, where the default would hardly be seen or always differs.
_GALLERY = {
    "blur": {"sigma": 4.0, "window": 15},
    "brightness": {"amount": 0.8},
    "contrast": {"amount": 0.9},
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
    "mixup": {"alpha": 4.0},
    "noise": {"sigma": 0.15},
    "perspective": {"tilt": 0.4},
    "posterize": {"bits": 2.0},
    "random_resized_crop": {"smallest": 0.2, "largest": 0.5},
    "repeat": {"times": 2},
    "resize": {"height": 48, "width": 96},
    "rotate": {"degrees": 40.0},
    "salt_and_pepper": {"share": 0.1},
    "series_mask": {"share": 0.5},
    "sharpness": {"amount": 3.0},
    "shear": {"degrees": 25.0},
    "shift": {"pixels": 24},
    "temporal_crop": {"frames": 24},
    "translate": {"share": 0.25},
    "zoom": {"factor": 2.0},
}


def sheet(config, path: str, split: str, step: int, examples: int) -> int:
    """Draws the first `examples` that a network would see at a step of training, or of a pass over a split."""
    prepared = prepare(config)
    facts, hparams = prepared.source.facts, sections.numeric(prepared.config)
    if facts.input not in _DRAWN:
        raise ConfigError(f"data.name is {config.data.name!r} with {facts.input}; a sheet shows {', '.join(_DRAWN)}")
    part = prepared.source.train if split == "train" else getattr(prepared.source, split)
    if split == "train":
        batch = _at(prepared, part, step)
        key = jax.random.fold_in(key_for(prepared.config["seed"], "augment"), step)
    else:
        batch = next(iter(passes(part, max(1, min(examples, len(part))), resident=False, workers=0)))
        batch = {name: value[None] for name, value in batch.items()}
        key = jax.random.key(0)
    apply, pipeline = (
        prepared.program.augment(hparams, "train" if split == "train" else "eval"),
        prepared.config["augment"],
    )
    seen = []
    for number in range(len(batch["index"])):  # microbatches, as the step takes them
        fields = {name: value[number] for name, value in batch.items()}
        seen.append(jax.jit(apply)(jax.random.fold_in(key, number), fields))
    fields = {name: np.concatenate([np.asarray(one[name]) for one in seen]) for name in seen[0]}
    names = pipeline["train" if split == "train" else "eval"]
    if "normalize" in names:
        fields[facts.input] = fields[facts.input] * np.array(facts.std) + np.array(facts.mean)
    count = min(examples, len(fields["index"]))
    figure, panels = _grid(count, f"{split} · {' → '.join(names) or 'as it is'}")
    for row, panel in enumerate(panels):
        _panel(panel, {name: value[row] for name, value in fields.items()}, facts)
    figure.savefig(path, dpi=100)
    return count


def _at(prepared, part, step: int) -> dict:
    """The batch of a step, every field (microbatches, examples, …)."""
    stream = prepared.batches(part)
    try:
        batch = {name: np.asarray(value)[0] for name, value in stream.batches(step, 1).items()}
    finally:
        stream.close()
    if prepared.plan.accumulate == 1 and batch["index"].ndim == 1:
        batch = {name: value[None] for name, value in batch.items()}
    if part.resident:
        found = part.read(batch["index"].reshape(-1))
        batch |= {name: value.reshape(*batch["index"].shape, *value.shape[1:]) for name, value in found.items()}
    return batch


def _grid(count: int, title: str):
    """A figure with `count` bare panels."""
    columns = min(count, max(1, int(np.ceil(np.sqrt(count * 1.6)))))
    rows = -(-count // columns)
    figure = Figure(figsize=(1.3 * columns, 1.45 * rows + 0.5))
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(textwrap.wrap(title, 24 * columns)), fontsize=8)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.55 / (1.45 * rows + 0.5), 0.06, 0.22)
    return figure, panels[:count]


def _panel(panel, fields: dict, facts: Facts) -> None:
    """One example: its picture or curve, with whatever labels it has."""
    if facts.input == "series":
        panel.plot(fields["series"], linewidth=0.7)
    else:
        image = fields["image"] if facts.input == "image" else fields["video"][len(fields["video"]) // 2]
        image = np.clip(image.astype(float), 0, 1)
        panel.imshow(np.repeat(image, 3, -1) if image.shape[-1] == 1 else image[..., :3], interpolation="nearest")
        _annotate(panel, fields)
    panel.set_title(_words(fields, facts), fontsize=6, pad=2)


def _annotate(panel, fields: dict) -> None:
    if "segments" in fields:
        segments = fields["segments"].astype(float)
        shown = np.ma.masked_where((segments == 0) | (segments == 255), segments)
        panel.imshow(shown, cmap="tab10", vmin=0, vmax=10, alpha=0.5, interpolation="nearest")
    for box, present in zip(
        fields.get("boxes", ()), fields.get("present", np.ones(len(fields.get("boxes", ())))), strict=True
    ):
        if present:
            y0, x0, y1, x1 = box - 0.5
            panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, color="yellow", linewidth=0.8))
    if "points" in fields:
        visible = fields.get("visible", np.ones(len(fields["points"]))) > 0
        panel.scatter(
            *fields["points"][visible][:, ::-1].T,
            s=5,
            c=np.flatnonzero(visible),
            cmap="cool",
            edgecolors="black",
            linewidths=0.4,
        )


def _words(fields: dict, facts: Facts) -> str:
    """The label, or the two largest shares of a mixed one."""

    def name(number):
        return str(facts.names[number]) if 0 <= number < len(facts.names) else str(number)

    if "target" in fields:
        order = np.argsort(-fields["target"])[:2]
        return " + ".join(f"{name(k)} {fields['target'][k]:.2f}" for k in order if fields["target"][k] > 0.005)
    return name(int(fields["label"])) if "label" in fields and np.ndim(fields["label"]) == 0 else ""


def gallery(path: str) -> int:
    """Draws every augmentation at full strength on one picture, its points, its box and a curve."""
    entries = sorted(name for name in vars(augment) if augment.kind(getattr(augment, name)))
    figure, panels = _grid(len(entries) + 1, "")
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
    facts = Facts(
        shape=picture.shape, mean=(0.5,) * 3, std=(0.25,) * 3, names=("house", "turned"), extra={"mirror": (0, 1)}
    )
    for panel, name in zip(panels, ["", *entries], strict=True):
        curved = name.startswith("series") or name == "temporal_crop"
        fields = _augmented(facts, name, curves if curved else pictures)
        about = Facts("series" if curved else "image", names=facts.names)
        if name == "normalize":
            fields["image"] = fields["image"] / 4 + 0.5
        _panel(panel, fields, about)
        panel.set_title(name or "as it is", fontsize=7, pad=2)
    figure.savefig(path, dpi=80)
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
        fields = {word: value for word, value in fields.items() if word not in of_kind("points", "boxes")}
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
